import { Canvas } from "../canvas/Canvas";
import { Breadcrumbs } from "../canvas/Breadcrumbs";
import { FileBar } from "../files/FileBar";
import { useLive } from "../files/live";
import { RunBar } from "../run/RunBar";
import { useStore } from "../state/store";
import { useShortcuts } from "./commands";
import { Dialogs } from "./dialogs";
import { Messages } from "./Messages";
import { Bottom, Side, StatusBar } from "./panels";
import { useTheme } from "./theme";
import { ViewMenu } from "./ViewMenu";
import "./theme.css";
import "./App.css";

export function App() {
  useTheme();
  useShortcuts();
  useLive();
  const online = useStore((state) => state.online);
  return (
    <div className="app">
      <header>
        <div className="app-top">
          <h1 className="hidden-text">Stepgraph</h1>
          <FileBar />
          <span className="grow" />
          <RunBar />
          <ViewMenu />
        </div>
        {!online && (
          <p className="offline" role="status">
            The server does not answer. What you do is kept on this page; it goes on when the server is back.
          </p>
        )}
      </header>
      <div className="middle">
        <main className="stage" aria-label="Workflow">
          <Breadcrumbs />
          <Canvas />
          <Bottom />
        </main>
        <Side />
      </div>
      <StatusBar />
      <Messages />
      <Dialogs />
    </div>
  );
}
