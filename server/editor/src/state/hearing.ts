/** What events of its job make of a run. Pure: events in, a new run out. */

import type { Job, JobState } from "../api/types";
import { containers } from "./containers";
import { FRESH, type Heard, type LoopRun, type NodeRun, type Run, callsOf, isActive, staticPath } from "./noderun";

type EngineEvent = {
  node?: string;
  time?: number;
  key?: string;
  message?: string;
  total?: number;
  seconds?: number;
  bytes?: number;
};

/** A run after some events of its job. Those that it heard before change nothing. */
export function hearAll(run: Run, heard: readonly Heard[]): Run {
  const fresh = heard.filter(({ event }) => event.n > run.after);
  if (fresh.length === 0) return run;
  const draft = draftOf(run);
  for (const one of fresh) hearOne(draft, one);
  const { fresh: _, ...made } = draft;
  return { ...made, nodes: { ...made.leaves, ...containers(made) } };
}

type Leaf = { -readonly [name in keyof NodeRun]: NodeRun[name] } & { keys: Record<string, string> };

/** A run while it hears events. All that it holds is its own: a long run is not copied for each event. */
type Draft = Omit<Run, "leaves" | "open" | "loops" | "previews"> & {
  leaves: Record<string, NodeRun>;
  open: Record<string, true>;
  loops: Record<string, LoopRun>;
  previews: Record<string, string>;
  /** The leaves that were copied already. */
  fresh: Map<string, Leaf>;
};

function draftOf(run: Run): Draft {
  const { leaves, open, loops, previews } = run;
  return {
    ...run,
    leaves: { ...leaves },
    open: { ...open },
    loops: { ...loops },
    previews: { ...previews },
    fresh: new Map(),
  };
}

function hearOne(run: Draft, { event, preview }: Heard): void {
  run.after = event.n;
  const data = event.data as EngineEvent;
  switch (event.event) {
    case "state":
      return hearState(run, event.data);
    case "expanded":
      return expanded(run, data);
    case "started":
      return begun(run, data);
    case "finished":
    case "cached":
      return ended(run, data, event.event === "cached");
    case "preview":
      return preview === undefined ? undefined : pictured(run, data.node ?? "", preview);
    case "failed":
      if (data.node) blame(run, data.node, data.message ?? "");
  }
}

/** A leaf of the draft that may be changed. */
function leafOf(run: Draft, path: string): Leaf {
  let leaf = run.fresh.get(path);
  if (leaf === undefined) {
    const before = run.leaves[path] ?? { ...FRESH, total: callsOf(run, path) };
    leaf = { ...before, keys: { ...before.keys } };
    run.fresh.set(path, leaf);
    run.leaves[path] = leaf;
  }
  return leaf;
}

function expanded(run: Draft, { node: call = "", total = 0, time = 0 }: EngineEvent): void {
  const path = staticPath(call);
  run.loops[path] = { ...(run.loops[path] ?? { at: 0, time, first: 0, since: null }), total };
}

function begun(run: Draft, { node: call = "", time = 0 }: EngineEvent): void {
  const path = staticPath(call);
  run.open[call] = true;
  locate(run, call, time);
  const leaf = leafOf(run, path);
  leaf.state = "running";
  leaf.total = callsOf(run, path);
}

function ended(
  run: Draft,
  { node: call = "", key = "", seconds = 0, bytes = 0, time = 0 }: EngineEvent,
  cached: boolean,
): void {
  const leaf = leafOf(run, staticPath(call));
  // What was made in this run is looked up again by later nodes: that is no news.
  if (cached && leaf.keys[call] === key) return;
  delete run.open[call];
  locate(run, call, time);
  leaf.keys[call] = key;
  leaf.key = key;
  leaf.bytes = bytes;
  leaf.done = Math.max(leaf.done, numberOf(run, call) + 1);
  if (cached) leaf.cached++;
  leaf[cached ? "saved" : "seconds"] += seconds;
  leaf.state = stateOf(run, staticPath(call), leaf, cached);
}

/** Whether a node whose call ended is through with all of them; it is `cached` where all that ended came from there. */
function stateOf(run: Draft, path: string, leaf: NodeRun, cached: boolean): NodeRun["state"] {
  const busy = Object.keys(run.open).some((call) => staticPath(call) === path);
  if (busy || leaf.done < leaf.total) return "running";
  return cached && leaf.cached >= Object.keys(leaf.keys).length ? "cached" : "done";
}

/** The place of a call among the calls of its node, where its loops run one after the other. */
function numberOf(run: Draft, call: string): number {
  let number = 0;
  for (const { path, index } of iterations(call)) number = number * (run.loops[path]?.total ?? 1) + index;
  return number;
}

/** The loops around a call, the outermost first, with the number of the iteration in each. */
function iterations(call: string): { path: string; index: number }[] {
  return [...call.matchAll(/\[(\d+)\]/g)].map((found) => ({
    path: staticPath(call.slice(0, found.index)), index: Number(found[1]),
  })); // prettier-ignore
}

/** Notes which iterations of its loops a call belongs to. */
function locate(run: Draft, call: string, time: number): void {
  for (const { path, index: at } of iterations(call)) {
    const loop = run.loops[path] ?? { total: at + 1, at, time, first: at, since: null };
    const back = at < loop.at;
    const begins = at > loop.at && loop.since === null;
    run.loops[path] = {
      ...loop,
      at,
      time,
      ...(back && { first: at, since: null }),
      ...(begins && { first: at, since: time }),
    };
  }
}

function pictured(run: Draft, call: string, preview: string): void {
  run.previews[call] = preview;
  leafOf(run, staticPath(call)).preview = preview;
}

function blame(run: Draft, call: string, message: string): void {
  delete run.open[call];
  Object.assign(leafOf(run, staticPath(call)), { state: "failed", message });
}

type StateData = { state?: JobState; result?: Job["result"]; error?: Job["error"] };

function hearState(run: Draft, { state = run.job.state, result = null, error = null }: StateData): void {
  const now = Date.now() / 1000;
  run.job = {
    ...run.job, state, result, error,
    started: state === "queued" ? null : (run.job.started ?? now),
    finished: isActive({ state }) ? null : (run.job.finished ?? now),
    position: state === "queued" ? run.job.position : null,
  }; // prettier-ignore
  if (state === "queued") begin(run);
  if (!isActive({ state })) settle(run);
}

/** A job that waits (again) has done nothing yet. */
function begin(run: Draft): void {
  Object.assign(run, { leaves: {}, open: {}, loops: {}, fresh: new Map() });
}

/** What was at work when the run ended is done if that went well, else stopped; an error stands with its nodes. */
function settle(run: Draft): void {
  run.open = {};
  const { error, state } = run.job;
  for (const [path, { state: last }] of Object.entries(run.leaves)) {
    if (last === "running") leafOf(run, path).state = state === "succeeded" ? "done" : "stopped";
  }
  if (error?.node) blame(run, error.node, error.message);
  for (const { node, message } of error?.problems ?? []) if (node) blame(run, node, message);
}
