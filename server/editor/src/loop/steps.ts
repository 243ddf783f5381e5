/** The steps of one loop in one run, as the timeline shows them. */

import type { NodeType } from "../api/types";
import type { Loop } from "../graph/loops";
import { type Iterations, callName } from "../graph/origin";
import { splitReference } from "../graph/references";
import type { Call } from "./calls";

export type Step = {
  index: number;
  /** Whether its latents are there. */
  done: boolean;
  /** Whether all of it came from the cache. */
  cached: boolean;
  /** What its calls took; null where no event told. */
  seconds: number | null;
  /** The call that makes its latents, and its key with the number of the output before it; "" where it is not known. */
  call: string;
  key: string;
};

/** Which loop, and which iteration of the loops and maps around it. */
export type Instance = { loop: Loop; outer: Iterations };

/** How many steps a loop has in all; 0 where that is not known yet. */
export function countOf({ loop }: Instance, totals: Iterations): number {
  return totals[loop.path] ?? 0;
}

export function stepsOf(
  instance: Instance,
  count: number,
  calls: ReadonlyMap<string, Call>,
  catalog: ReadonlyMap<string, NodeType>,
): Step[] {
  const { loop, outer } = instance;
  const [node, output] = splitReference(loop.step);
  const type = loop.body.nodes[node]?.type ?? "";
  const byStep = grouped(calls, callName(`${loop.path}.x`, { ...outer, [loop.path]: 0 }).replace(/\[0\]\.x$/, "["));
  return Array.from({ length: count }, (_, index) => {
    const call = callName(`${loop.path}.${node}`, { ...outer, [loop.path]: index });
    const own = calls.get(call);
    const key = own ? outputKey(catalog, type, output, own.key) : "";
    return { index, call, key, ...standing(byStep.get(index) ?? [], own, catalog.has(type)) };
  });
}

/** The calls of each iteration of a loop. */
function grouped(calls: ReadonlyMap<string, Call>, prefix: string): Map<number, Call[]> {
  const made = new Map<number, Call[]>();
  for (const [name, call] of calls) {
    if (!name.startsWith(prefix)) continue;
    const index = Number.parseInt(name.slice(prefix.length), 10);
    const there = made.get(index);
    if (there) there.push(call);
    else made.set(index, [call]);
  }
  return made;
}

/** How far a step is: by the call that makes its latents, or where no single one does (`single` is false), by all. */
function standing(calls: readonly Call[], own: Call | undefined, single: boolean): Pick<Step, "done" | "cached" | "seconds"> {
  const told = calls.filter((call) => call.seconds !== null && !call.cached);
  const done = own || single ? own?.there === true : calls.length > 0 && calls.every((call) => call.there);
  return {
    done,
    cached: done && told.length === 0,
    seconds: !done || told.length === 0 ? null : told.reduce((sum, call) => sum + call.seconds!, 0),
  };
}

/** The key of one output of a call, as values and previews take it. */
export function outputKey(catalog: ReadonlyMap<string, NodeType>, type: string, output: string | undefined, key: string): string {
  const index = output ? Object.keys(catalog.get(type)?.outputs ?? {}).indexOf(output) : 0;
  return Math.max(0, index).toString(16).padStart(2, "0") + key;
}

/** The iterations of the loops and maps around a loop of which calls are known, each with a name to choose it by. */
export function instancesOf(loop: Loop, calls: Iterable<string>): Instance[] {
  const depth = loop.path.split(".").length;
  const found = new Map<string, Instance>();
  for (const call of calls) {
    const parts = call.split(".");
    if (parts.length <= depth) continue;
    const own = parts.slice(0, depth);
    if (own.join(".").replace(/\[\d+\]/g, "") !== loop.path) continue;
    const outer = own.slice(0, -1);
    found.set(outer.join("."), { loop, outer: iterationsIn(outer) });
  }
  return found.size > 0 ? [...found.values()].sort(byIteration) : [{ loop, outer: {} }];
}

/** Calls come as they run, which is no order for people. */
function byIteration(one: Instance, other: Instance): number {
  const paths = Object.keys(one.outer); // the outermost first
  const differs = paths.find((path) => one.outer[path] !== other.outer[path]);
  return differs === undefined ? 0 : one.outer[differs]! - other.outer[differs]!;
}

function iterationsIn(parts: readonly string[]): Iterations {
  const made: Record<string, number> = {};
  parts.forEach((part, at) => {
    const number = /\[(\d+)\]$/.exec(part);
    if (number) made[parts.slice(0, at + 1).join(".").replace(/\[\d+\]/g, "")] = Number(number[1]);
  });
  return made;
}

/** What an instance is called: the nodes on the way to its loop, with the numbers of their iterations from 1. */
export function nameOf({ loop, outer }: Instance): string {
  const parts = loop.path.split(".");
  const shown = parts.length > 1 && loop.scope.owner?.entry.body === undefined ? parts.slice(0, -1) : parts;
  return shown
    .map((part, at) => {
      const index = outer[parts.slice(0, at + 1).join(".")];
      return index === undefined ? part : `${part} ${index + 1}`;
    })
    .join(" › ");
}
