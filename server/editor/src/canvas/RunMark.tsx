import { type NodeRun, nodeRun } from "../state/runs";
import { useStore } from "../state/store";

/** How a node stands in the run that is shown: a line above it and a bar that grows; in words for screen readers. */
export function RunMark({ id, path, words }: { id: string; path: string; words: string }) {
  const run = useStore((state) => nodeRun(state, path));
  const said = [words, run && stateWords(run)].filter(Boolean).join(", ");
  return (
    <>
      <span className="hidden-text" id={id}>
        {said}
      </span>
      {run && (
        <span className={`run-mark ${run.state}`} aria-hidden="true">
          {SIGNS[run.state]} {shortWords(run)}
        </span>
      )}
      {run && run.state === "running" && <span className="run-bar" style={{ width: `${share(run) * 100}%` }} />}
    </>
  );
}

const SIGNS: Record<NodeRun["state"], string> = { queued: "…", running: "▶", cached: "◆", done: "✓", failed: "✕", stopped: "■" };

function share(run: NodeRun): number {
  return run.total > 0 ? Math.min(1, run.done / run.total) : 0;
}

/** In words: "running, step 3 of 20". */
export function stateWords(run: NodeRun): string {
  if (run.state === "running" && run.total > 1) return `running, step ${Math.min(run.done + 1, run.total)} of ${run.total}`;
  if (run.state === "done") return `done in ${seconds(run.seconds)}`;
  return run.state === "cached" ? "from the cache" : run.state === "failed" ? `failed: ${run.message}` : run.state;
}

function shortWords(run: NodeRun): string {
  switch (run.state) {
    case "running":
      return run.total > 1 ? `step ${Math.min(run.done + 1, run.total)} of ${run.total}` : "running";
    case "done":
      return [seconds(run.seconds), run.bytes > 0 && bytes(run.bytes)].filter(Boolean).join(" · ");
    case "cached":
      return ["cached", run.bytes > 0 && bytes(run.bytes)].filter(Boolean).join(" · ");
    default:
      return run.state;
  }
}

function seconds(value: number): string {
  if (value < 0.95) return `${Math.max(1, Math.round(value * 1000))} ms`;
  return value < 60 ? `${value.toFixed(1)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}

function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, value)) / 3));
  return `${(value / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

/** What a run left at the foot of a node: its last small picture, or why it failed. */
export function RunFoot({ path }: { path: string }) {
  const preview = useStore((state) => nodeRun(state, path)?.preview ?? "");
  const message = useStore((state) => nodeRun(state, path)?.message ?? "");
  return (
    <>
      {preview !== "" && <img className="node-preview" src={preview} alt="Preview of the last step" draggable={false} />}
      {message !== "" && <p className="node-failure">{message}</p>}
    </>
  );
}
