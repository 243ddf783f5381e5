import { type Run, isActive } from "../state/noderun";
import { showNode } from "../state/showNode";
import { cancelJob } from "./jobs";
import { failedNode, tell } from "./progress";

/** How a run stands, with a bar while it goes on, and what can be done about it. */
export function RunStatus({ run }: { run: Run }) {
  const { share, text } = tell(run);
  const { job } = run;
  const node = job.state === "failed" ? failedNode(job) : "";
  return (
    <>
      <div className={`run-status ${job.state}`} title={text} data-job={job.id}>
        <span className="run-text">{text}</span>
        {isActive(job) && <Bar share={job.state === "running" ? share : null} />}
      </div>
      {node !== "" && (
        <button className="plain" onClick={() => void showNode(node)}>
          Show the node
        </button>
      )}
      {isActive(job) && (
        <button
          disabled={job.cancelling}
          title="Cancel the run (Ctrl+.)"
          aria-keyshortcuts="Control+."
          onClick={() => void cancelJob(job)}
        >
          {job.cancelling ? "Stopping…" : "Cancel"}
        </button>
      )}
    </>
  );
}

function Bar({ share }: { share: number | null }) {
  if (share === null)
    return <span className="run-progress unknown" role="progressbar" aria-label="Progress of the run" />;
  const percent = Math.round(share * 100);
  return (
    <span
      className="run-progress"
      role="progressbar"
      aria-label="Progress of the run"
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
    >
      <span style={{ width: `${percent}%` }} />
    </span>
  );
}
