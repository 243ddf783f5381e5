import { useEffect, useState } from "react";
import { rootDoc } from "../state/documents";
import { follow } from "../state/following";
import { isActive, shownRun } from "../state/runs";
import { useStore } from "../state/store";
import { RunStatus } from "./RunStatus";
import { tell } from "./progress";
import { useForecast } from "./useForecast";
import { useSpoken } from "./useSpoken";
import { useTitle } from "./useTitle";
import "./run.css";

/** Runs the workflow of the tab, and tells how its last run stands. */
export function RunBar() {
  useEffect(follow, []);
  const run = useStore(shownRun);
  const startRun = useStore((state) => state.startRun);
  const nothing = useStore((state) => rootDoc(state) === undefined);
  const spoken = useSpoken(run ? tell(run).text : "", run ? run.job.id + run.job.state : "");
  const [near, setNear] = useState(false);
  const forecast = useForecast(near);
  useTitle(run);
  return (
    <div className="run-bar-all row" role="group" aria-label="Run">
      {run && <RunStatus key={run.job.id} run={run} />}
      <span className="hidden-text" role="status">
        {spoken}
      </span>
      <Others shown={run?.job.id} />
      {forecast && <span className="badge run-forecast">{forecast}</span>}
      <button
        className="primary run-button"
        disabled={nothing}
        title="Run (Ctrl+Enter)"
        aria-keyshortcuts="Control+Enter"
        onClick={() => void startRun()}
        onPointerEnter={() => setNear(true)}
        onPointerLeave={() => setNear(false)}
        onFocus={() => setNear(true)}
        onBlur={() => setNear(false)}
      >
        <span aria-hidden="true">▶</span> Run
      </button>
    </div>
  );
}

/** How many other jobs of this page are at work or wait. */
function Others({ shown }: { shown: string | undefined }) {
  const count = useStore(
    ({ runs, mine }) =>
      Object.values(runs).filter(({ job }) => isActive(job) && job.id !== shown && mine.includes(job.id)).length,
  );
  const setSide = useStore((state) => state.setSide);
  if (count === 0) return null;
  return (
    <button className="plain" title="Show the queue" onClick={() => setSide("queue")}>
      {count} more
    </button>
  );
}
