/** How the nodes of a run stand. */

import type { Job, JobEvent } from "../api/types";
import type { Tree } from "../document/syntax";

/**
 * How a node stands in a run; of a node within a loop, all its calls together; of a loop or sub-workflow, all that is
 * within.
 */
export type NodeRun = {
  /** `stopped`: it was at work when the run was cancelled or failed elsewhere. */
  state: "queued" | "running" | "cached" | "done" | "failed" | "stopped";
  /** Calls that ended (iterations of a loop), of all that are known: step `done` of `total`. */
  done: number;
  total: number;
  /** What its calls took in this run; `saved` is what those from the cache took when they were made. */
  seconds: number;
  saved: number;
  /** How many of its calls came from the cache. */
  cached: number;
  /** Size of the last value. */
  bytes: number;
  /** The error, in words. */
  message: string;
  /** The key of the last call that ended, and of each call by its full name (`denoise.loop[3].step`). */
  key: string;
  keys: Readonly<Record<string, string>>;
  /** The last small picture, as an object URL. */
  preview: string;
};

/**
 * A loop that told its length; `at` is the number of the iteration that was heard of last, at `time` (seconds of the
 * run). Its pace is measured from the iteration `first` on, which began at `since`: one that followed another, as the
 * very first may take its time for what all need. `since` is null until then, and again after a step back.
 */
export type LoopRun = { total: number; at: number; time: number; first: number; since: number | null };

export type Run = {
  job: Job;
  /** The document that was run. */
  doc: string;
  /** Nodes by static path: `denoise.loop.step`, and the loops and sub-workflows around them. */
  nodes: Readonly<Record<string, NodeRun>>;
  /** Of those, the ones that are called: no loops, no sub-workflows. */
  leaves: Readonly<Record<string, NodeRun>>;
  /** Calls that began and did not end, by full name. */
  open: Readonly<Record<string, true>>;
  loops: Readonly<Record<string, LoopRun>>;
  /** Small pictures by the full name of the call, as object URLs. */
  previews: Readonly<Record<string, string>>;
  /** Static paths of all nodes that the checker knew of when the run began; empty where it had not spoken yet. */
  paths: readonly string[];
  /** The file as it was run; null where the run was not started here. */
  tree: Tree | null;
  /** The number of the last event. */
  after: number;
};

/** An event, with the object URL of the picture that came with it. */
export type Heard = { event: JobEvent; preview?: string };

export function newRun(job: Job, doc: string, paths: readonly string[] = [], tree: Tree | null = null): Run {
  return { job, doc, paths, tree, nodes: {}, leaves: {}, open: {}, loops: {}, previews: {}, after: 0 };
}

/** The static path of a call: `denoise.loop[3].step` is one of `denoise.loop.step`. */
export function staticPath(call: string): string {
  return call.replace(/\[\d+\]/g, "");
}

export function isActive(job: Pick<Job, "state">): boolean {
  return job.state === "queued" || job.state === "running";
}

/** The loops and sub-workflows around a node, the outermost first. */
export function ancestors(path: string): string[] {
  const parts = path.split(".");
  return parts.slice(1).map((_, at) => parts.slice(0, at + 1).join("."));
}

/** A node that begins. */
export const FRESH: NodeRun = {
  state: "running", done: 0, total: 1, seconds: 0, saved: 0, cached: 0, bytes: 0, message: "", key: "", keys: {},
  preview: "",
}; // prettier-ignore

/** A node of a run of which nothing was heard yet. */
export const QUEUED: NodeRun = { ...FRESH, state: "queued" };

/** How often a node is called: the lengths of the loops around it, multiplied. */
export function callsOf(run: Pick<Run, "loops">, path: string): number {
  return ancestors(path).reduce((calls, around) => calls * (run.loops[around]?.total ?? 1), 1);
}

/** How much of a run came from the cache: nodes, of all that were heard of. */
export function fromCache(run: Run): { cached: number; nodes: number } {
  const leaves = Object.values(run.leaves);
  return { cached: leaves.filter((leaf) => leaf.state === "cached").length, nodes: leaves.length };
}
