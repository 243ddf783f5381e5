/** What is said of a run: how far it is, and how it ended. */

import type { Job } from "../api/types";
import { counted, seconds } from "../parts/words";
import { type Run, fromCache } from "../state/noderun";

/** `share` is how much is done, from 0 to 1; null where nobody knows yet. */
export type Told = { share: number | null; text: string };

export function tell(run: Run): Told {
  switch (run.job.state) {
    case "queued":
      return { share: null, text: waitingWords(run.job) };
    case "running":
      return running(run);
    case "succeeded":
      return { share: 1, text: ["Done", tookWords(run.job), cacheWords(run)].filter(Boolean).join(" · ") };
    case "cancelled":
      return { share: null, text: "Cancelled" };
    case "failed":
      return { share: null, text: `Failed: ${failureWords(run.job)}` };
  }
}

function waitingWords(job: Job): string {
  const before = job.position ?? 0;
  return before > 0 ? `Waiting: ${counted(before, "job")} before it` : "Waiting";
}

function running(run: Run): Told {
  const step = stepOf(run);
  const left = run.job.seconds_left ?? step?.left ?? null;
  const words = [
    run.job.cancelling ? "Stopping" : step ? `Step ${step.number} of ${step.total}` : `Running${busyWords(run)}`,
    left !== null && left >= 1 && !run.job.cancelling && `${seconds(Math.round(left))} left`,
  ];
  return {
    share: run.job.progress ?? (step ? (step.number - 1) / step.total : null),
    text: words.filter(Boolean).join(" · "),
  };
}

/** The iteration of the outermost loop that is at work, and the seconds until its end by the pace so far. */
export function stepOf(run: Run): { number: number; total: number; left: number | null } | null {
  const loops = Object.keys(run.loops).filter((path) => run.nodes[path]?.state === "running");
  const path = loops.sort((a, b) => a.length - b.length)[0];
  const node = run.nodes[path ?? ""];
  if (path === undefined || node === undefined) return null;
  const { total, at, time, first, since } = run.loops[path]!;
  const left = at > first && since !== null ? ((time - since) / (at - first)) * (total - at) : null;
  return { number: Math.min(node.done + 1, node.total), total: node.total, left };
}

function busyWords(run: Run): string {
  const busy = Object.keys(run.open)[0];
  return busy === undefined ? "" : `: ${busy}`;
}

function tookWords(job: Job): string {
  return job.started !== null && job.finished !== null ? seconds(job.finished - job.started) : "";
}

function cacheWords(run: Run): string {
  const { cached, nodes } = fromCache(run);
  if (cached === 0) return "";
  return cached === nodes ? "all from the cache" : `${cached} of ${nodes} nodes from the cache`;
}

/** Why a job failed, in one line. */
export function failureWords(job: Job): string {
  const { error } = job;
  const problem = error?.problems?.[0];
  if (problem) return problem.node ? `${problem.node}: ${problem.message}` : problem.message;
  return error ? (error.node ? `${error.node}: ${error.message}` : error.message) : "the server does not say why";
}

/** The node that a failed job names, by its static path; empty where it names none. */
export function failedNode(job: Job): string {
  const node = job.error?.problems?.find((one) => one.node !== "")?.node ?? job.error?.node ?? "";
  return node.replace(/\[\d+\]/g, "");
}
