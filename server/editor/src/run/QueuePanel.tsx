import { useCallback } from "react";
import type { Job } from "../api/types";
import { counted } from "../parts/words";
import { JobItem } from "./JobItem";
import { cancelJob, loadJobs, loadOlder, useJobs } from "./jobs";
import { useRefresh } from "./useRefresh";
import "./run.css";

const REFRESH_MILLISECONDS = 1500;

/** All jobs of the server: what runs, what waits, and what ended. */
export default function QueuePanel() {
  useRefresh(
    useCallback(() => void loadJobs(), []),
    REFRESH_MILLISECONDS,
  );
  const { running, waiting, ended, older, loaded, problem } = useJobs();
  if (!loaded) return problem ? <p className="bad">{problem}</p> : <p className="quiet">One moment…</p>;
  if (running.length + waiting.length + ended.length === 0)
    return <p className="quiet">No job yet. Ctrl+Enter runs the workflow.</p>;
  return (
    <div className="column queue">
      {problem && <p className="bad">{problem}</p>}
      <Group title="Running" jobs={running} />
      <Group title="Waiting" jobs={waiting}>
        {waiting.length > 1 && (
          <button className="plain" onClick={() => waiting.forEach((job) => void cancelJob(job))}>
            Cancel all {waiting.length}
          </button>
        )}
      </Group>
      <Group title="Ended" jobs={ended} />
      {older !== null && <button onClick={() => void loadOlder()}>Older jobs</button>}
      <span className="hidden-text" role="status">
        {counted(running.length, "job")} running, {waiting.length} waiting
      </span>
    </div>
  );
}

function Group({ title, jobs, children }: { title: string; jobs: readonly Job[]; children?: React.ReactNode }) {
  if (jobs.length === 0) return null;
  return (
    <section aria-label={title}>
      <div className="row spread">
        <h3>
          {title} <span className="badge">{jobs.length}</span>
        </h3>
        {children}
      </div>
      <ul className="run-jobs">
        {jobs.map((job) => (
          <JobItem key={job.id} job={job} />
        ))}
      </ul>
    </section>
  );
}
