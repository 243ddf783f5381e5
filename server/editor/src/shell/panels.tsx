/** The panels at the side and at the bottom. Each comes with its own file, fetched when it is first shown. */

import { type ComponentType, type LazyExoticComponent, type MouseEvent, Suspense } from "react";
import { ProblemCount } from "../files/ProblemCount";
import { lazily } from "../parts/lazily";
import type { BottomPanel, SidePanel } from "../state/interface";
import { useStore } from "../state/store";

type Panel = { title: string; show: LazyExoticComponent<ComponentType> };

const SIDE: Record<SidePanel, Panel> = {
  node: { title: "Node", show: lazily(() => import("../forms/NodePanel")) },
  inspect: { title: "Inspect", show: lazily(() => import("../loop/InspectPanel")) },
  queue: { title: "Queue", show: lazily(() => import("../run/QueuePanel")) },
  gallery: { title: "Gallery", show: lazily(() => import("../run/GalleryPanel")) },
  files: { title: "Files", show: lazily(() => import("../files/FilesPanel")) },
};

const BOTTOM: Record<BottomPanel, Panel> = {
  timeline: { title: "Steps", show: lazily(() => import("../loop/TimelinePanel")) },
  problems: { title: "Problems", show: lazily(() => import("../files/ProblemsPanel")) },
  json: { title: "JSON", show: lazily(() => import("../files/JsonPanel")) },
};

export function Side() {
  const shown = useStore((state) => state.side);
  const setSide = useStore((state) => state.setSide);
  if (shown === null) return null;
  const { title, show: Show } = SIDE[shown];
  return (
    <aside className="side" aria-label={title}>
      <div className="panel-tabs">
        {Object.entries(SIDE).map(([name, panel]) => (
          <button key={name} className="plain" aria-pressed={name === shown} onMouseDown={keepFocus} onClick={() => setSide(name as SidePanel)}>
            {panel.title}
          </button>
        ))}
        <span className="grow" />
        <button className="plain icon" aria-label="Close the side panel" onClick={() => setSide(null)}>
          ×
        </button>
      </div>
      <div className="panel">
        <Suspense fallback={<p className="quiet">One moment…</p>}>
          <Show />
        </Suspense>
      </div>
    </aside>
  );
}

export function Bottom() {
  const shown = useStore((state) => state.bottom);
  if (shown === null) return null;
  const { title, show: Show } = BOTTOM[shown];
  return (
    <section className="app-bottom" aria-label={title}>
      <Suspense fallback={<p className="quiet">One moment…</p>}>
        <Show />
      </Suspense>
    </section>
  );
}

export function StatusBar() {
  const bottom = useStore((state) => state.bottom);
  const setBottom = useStore((state) => state.setBottom);
  const side = useStore((state) => state.side);
  const setSide = useStore((state) => state.setSide);
  return (
    <footer className="status">
      {Object.entries(BOTTOM).map(([name, panel]) => (
        <button
          key={name}
          className="plain"
          aria-pressed={name === bottom}
          onMouseDown={keepFocus}
          onClick={() => setBottom(name === bottom ? null : (name as BottomPanel))}
        >
          {panel.title}
          {name === "problems" && <ProblemCount />}
        </button>
      ))}
      <span className="grow" />
      {side === null && (
        <button className="plain" onClick={() => setSide("node")}>
          Side panel
        </button>
      )}
      <a href="/api/docs">API</a>
    </footer>
  );
}

/** Who shows a panel by the mouse goes on where the focus was: the keys of the canvas stay those of the canvas. */
function keepFocus(event: MouseEvent): void {
  event.preventDefault();
}
