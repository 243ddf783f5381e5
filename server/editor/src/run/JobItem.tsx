import { api } from "../api/client";
import type { Job, JobState } from "../api/types";
import { moment, seconds } from "../parts/words";
import { isActive } from "../state/noderun";
import { showNode } from "../state/showNode";
import { useStore } from "../state/store";
import { cancelJob, retryJob, showJob } from "./jobs";
import { picturesOf } from "./pictures";
import { failedNode, failureWords } from "./progress";

const SIGNS: Record<JobState, string> = {
  queued: "…", running: "▶", succeeded: "✓", failed: "✕", cancelled: "■",
}; // prettier-ignore
const WORDS: Record<JobState, string> = {
  queued: "waiting", running: "running", succeeded: "done", failed: "failed", cancelled: "cancelled",
}; // prettier-ignore

/** One job of the queue. */
export function JobItem({ job }: { job: Job }) {
  const mine = useStore((state) => state.mine.includes(job.id));
  const shown = useStore((state) => Object.values(state.shown).includes(job.id));
  return (
    <li className={`run-job ${job.state}`} aria-current={shown || undefined}>
      <Thumbnail job={job} />
      <div className="grow">
        <div className="row">
          <span className="run-job-sign" aria-hidden="true">
            {SIGNS[job.state]}
          </span>
          <b className="run-job-name">{job.workflow}</b>
          {mine && <span className="badge">this page</span>}
          <span className="grow" />
          <span className="quiet">{job.cancelling && isActive(job) ? "stopping" : WORDS[job.state]}</span>
        </div>
        <p className="quiet run-job-line">{[about(job), timing(job)].filter(Boolean).join(" · ")}</p>
        {job.state === "running" && (
          <progress className="run-job-bar" aria-label="Progress" value={job.progress ?? undefined} />
        )}
        {job.state === "failed" && <p className="bad run-job-failure">{failureWords(job)}</p>}
        <Actions job={job} shown={shown} />
      </div>
    </li>
  );
}

function Thumbnail({ job }: { job: Job }) {
  const openDialog = useStore((state) => state.openDialog);
  const [picture] = picturesOf([job]);
  if (picture === undefined) return null;
  return (
    <button
      className="plain run-job-thumbnail"
      aria-label="Show the picture"
      onClick={() => openDialog("picture", { file: picture.file })}
    >
      <img src={api.fileUrl(picture.file)} alt="" loading="lazy" decoding="async" />
    </button>
  );
}

function about(job: Job): string {
  const { prompt } = job.inputs;
  return typeof prompt === "string" ? prompt : "";
}

function timing(job: Job): string {
  if (job.state === "queued") return job.position ? `${job.position} before it` : "next";
  if (job.state === "running") return job.seconds_left === null ? "" : `${seconds(job.seconds_left)} left`;
  const took = job.started !== null && job.finished !== null ? seconds(job.finished - job.started) : "";
  return [took, moment(job.finished ?? job.created)].filter(Boolean).join(", ");
}

function Actions({ job, shown }: { job: Job; shown: boolean }) {
  const node = job.state === "failed" ? failedNode(job) : "";
  return (
    <div className="row run-job-actions">
      {!shown && (
        <button className="plain" onClick={() => void showJob(job)}>
          On the canvas
        </button>
      )}
      {node !== "" && (
        <button className="plain" onClick={() => void showJob(job).then(() => showNode(node))}>
          Show the node
        </button>
      )}
      {isActive(job) && (
        <button className="plain" disabled={job.cancelling} onClick={() => void cancelJob(job)}>
          Cancel
        </button>
      )}
      {(job.state === "failed" || job.state === "cancelled") && (
        <button className="plain" onClick={() => void retryJob(job)}>
          Try again
        </button>
      )}
    </div>
  );
}
