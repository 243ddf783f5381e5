import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { start } from "./files/live";
import { App } from "./shell/App";
import { Guard } from "./shell/Guard";
import { rememberedTheme } from "./shell/theme";
import { useStore } from "./state/store";

useStore.getState().setTheme(rememberedTheme());

void start(); // the server is asked while the page is drawn for the first time

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Guard>
      <App />
    </Guard>
  </StrictMode>,
);
