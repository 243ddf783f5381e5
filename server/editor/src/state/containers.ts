/** Loops and sub-workflows of a run, each summed up from the nodes within. */

import { FRESH, type NodeRun, type Run, ancestors, callsOf, isActive } from "./noderun";

/** The loops and sub-workflows of a run, each summed up from what is within. */
export function containers(run: Run): Record<string, NodeRun> {
  const inside = new Map<string, NodeRun[]>();
  for (const [path, leaf] of Object.entries(run.leaves)) {
    for (const around of ancestors(path)) inside.set(around, [...(inside.get(around) ?? []), leaf]);
  }
  return Object.fromEntries([...inside].map(([path, leaves]) => [path, sum(run, path, leaves)]));
}

function sum(run: Run, path: string, leaves: readonly NodeRun[]): NodeRun {
  const total = (of: (leaf: NodeRun) => number) => leaves.reduce((all, leaf) => all + of(leaf), 0);
  const state = sumState(run, path, leaves);
  return {
    ...FRESH,
    ...count(run, path, leaves, state),
    state,
    seconds: total((leaf) => leaf.seconds),
    saved: total((leaf) => leaf.saved),
    cached: total((leaf) => leaf.cached),
    bytes: leaves.at(-1)?.bytes ?? 0,
    message: leaves.find((leaf) => leaf.state === "failed")?.message ?? "",
    preview: leaves.findLast((leaf) => leaf.preview !== "")?.preview ?? "",
  };
}

function sumState(run: Run, path: string, leaves: readonly NodeRun[]): NodeRun["state"] {
  const has = (state: NodeRun["state"]) => leaves.some((leaf) => leaf.state === state);
  if (has("failed")) return "failed";
  if (has("stopped")) return "stopped";
  if (has("running")) return "running";
  if (isActive(run.job) && foreseen(run, path, leaves)) return "queued";
  return leaves.every((leaf) => leaf.state === "cached") ? "cached" : "done";
}

/** Fewer than this share of the nodes within were heard of: they were only looked at ahead, as switches are. */
const FEW = 1 / 3;

function foreseen(run: Run, path: string, leaves: readonly NodeRun[]): boolean {
  const within = run.paths.filter((one) => one.startsWith(`${path}.`));
  const called = within.filter((one) => !within.some((other) => other.startsWith(`${one}.`)));
  return leaves.length < called.length * FEW;
}

/** Iterations of the loop that it is, or of the outermost one within; else the nodes within that are through. */
function count(
  run: Run,
  path: string,
  leaves: readonly NodeRun[],
  state: NodeRun["state"],
): Pick<NodeRun, "done" | "total"> {
  const loop = Object.keys(run.loops)
    .filter((one) => one === path || one.startsWith(`${path}.`))
    .sort((a, b) => a.length - b.length)[0];
  if (loop === undefined)
    return { done: leaves.filter((leaf) => leaf.done >= leaf.total).length, total: leaves.length };
  const { total, at } = run.loops[loop]!;
  const outer = callsOf(run, loop);
  const before = ancestors(loop).reduce(
    (number, one) => (run.loops[one] ? number * run.loops[one].total + run.loops[one].at : number),
    0,
  );
  if (state === "queued") return { done: 0, total: outer * total };
  if (state === "done" || state === "cached") return { done: outer * total, total: outer * total };
  return { done: before * total + at, total: outer * total };
}
