/** Where a value on a link comes from: the call that makes it, through files, loops and switches. */

import type { Json } from "../document/syntax";
import { type NodeEntry, type Source, type WorkflowFile, isReference } from "../document/workflow";
import { INPUTS } from "./graph";
import { splitReference } from "./references";
import { type Files, type Scope, enter, enterAll, isBody } from "./scope";

/** `loop` is the path of the loop or map whose iteration counts. What could go in circles is made when it is asked for. */
export type Origin =
  | { kind: "call"; path: string; output: string; type: string }
  | { kind: "literal"; value: Json }
  | { kind: "input"; name: string }
  | { kind: "choice"; select: Origin; cases: Readonly<Record<string, Origin>>; other: Origin | null }
  | { kind: "items"; items: readonly Origin[] }
  | { kind: "index"; loop: string }
  | { kind: "carried"; loop: string; first: () => Origin; next: () => Origin }
  | { kind: "item"; loop: string; list: Origin }
  | { kind: "last"; loop: string; of: Origin }
  | { kind: "all"; loop: string; of: Origin }
  | { kind: "unknown"; why: string };

/** The origin of an output of a node; `path` is the node's from the root on, INPUTS being the left end of a level. */
export function originOf(root: Scope, path: string, output: string, files: Files): Origin {
  const parts = path.split(".");
  const scope = enterAll(root, parts.slice(0, -1), files);
  const node = parts.at(-1)!;
  if (scope === null) return { kind: "unknown", why: `${path} is not in the workflow.` };
  return node === INPUTS ? originOfLink(scope, output, files) : originOfOutput(scope, node, output, files);
}

export function originOfSource(scope: Scope, source: Source | undefined, files: Files): Origin {
  if (source === undefined) return { kind: "unknown", why: "Nothing is given here." };
  if (isReference(source)) return originOfLink(scope, source.from, files);
  if (!Array.isArray(source) || !source.some(isReference)) return { kind: "literal", value: source };
  return { kind: "items", items: source.map((item) => originOfSource(scope, item, files)) };
}

function originOfLink(scope: Scope, from: string, files: Files): Origin {
  const [first, rest] = splitReference(from);
  if (first === "inputs") return originOfInput(scope, rest ?? "", files);
  if (!isBody(scope) || !["each", "carry", "index"].includes(first)) return originOfOutput(scope, first, rest, files);
  const { scope: outer, entry } = scope.owner!;
  const loop = scope.path.join(".");
  if (first === "index") return { kind: "index", loop };
  const name = rest ?? "";
  if (first === "each") return { kind: "item", loop, list: originOfSource(outer, entry.each?.[name], files) };
  return {
    kind: "carried", loop,
    first: () => originOfSource(outer, entry.carry?.[name], files),
    next: () => originOfSource(scope, entry.body?.carry?.[name], files),
  }; // prettier-ignore
}

function originOfInput(scope: Scope, name: string, files: Files): Origin {
  if (scope.owner === null) return { kind: "input", name };
  const given = scope.owner.entry.inputs?.[name];
  if (given !== undefined) return originOfSource(scope.owner.scope, given, files);
  const declared = (scope.level as WorkflowFile).inputs?.[name];
  if (declared && "default" in declared) return { kind: "literal", value: declared.default ?? null };
  return { kind: "unknown", why: `The input ${name} is not given.` };
}

function originOfOutput(scope: Scope, node: string, output: string | undefined, files: Files): Origin {
  const entry = scope.level.nodes?.[node];
  const path = [...scope.path, node].join(".");
  if (entry === undefined) return { kind: "unknown", why: `There is no node ${path}.` };
  if (entry.mute || entry.bypass) return { kind: "unknown", why: `${path} is ${entry.mute ? "muted" : "bypassed"}.` };
  if (entry.type === "switch") return choice(scope, entry, files);
  const inner = enter(scope, node, files);
  if (inner === null && entry.type === "workflow") return { kind: "unknown", why: `${entry.path} is not there.` };
  return inner ? originInside(inner, path, output, files) : { kind: "call", path, output: output ?? "", type: entry.type };
}

function choice(scope: Scope, entry: NodeEntry, files: Files): Origin {
  const cases = Object.entries(entry.cases ?? {}).map(([name, source]) => [name, originOfSource(scope, source, files)] as const);
  const other = entry.default === undefined ? null : originOfSource(scope, entry.default, files);
  return { kind: "choice", select: originOfSource(scope, entry.select, files), cases: Object.fromEntries(cases), other };
}

/** An output of a file, loop or map, from within. */
function originInside(inner: Scope, path: string, output: string | undefined, files: Files): Origin {
  const { level } = inner;
  if (!isBody(inner)) {
    const outputs = level.outputs ?? {};
    return originOfSource(inner, outputs[output ?? Object.keys(outputs)[0] ?? ""], files);
  }
  const { carry, collect, outputs } = inner.owner!.entry.body!;
  const name = output ?? Object.keys({ ...carry, ...collect, ...outputs })[0] ?? "";
  if (carry?.[name] !== undefined) return { kind: "last", loop: path, of: originOfSource(inner, carry[name], files) };
  return { kind: "all", loop: path, of: originOfSource(inner, collect?.[name] ?? outputs?.[name], files) };
}

/** Numbers of iterations by the path of the loop, and how many there are of each. */
export type Iterations = Readonly<Record<string, number>>;

/** A value of one run: one call's output, or what needs no call. */
export type Found =
  | { kind: "call"; call: string; path: string; output: string; type: string; item: number | null }
  | { kind: "literal"; value: Json }
  | { kind: "input"; name: string }
  | { kind: "list"; of: readonly Found[] }
  | { kind: "unknown"; why: string };

/** Tells which case of a switch is taken; null where nobody knows. */
export type Chooser = (select: Found) => Promise<string | null>;

/** The value of an origin in given iterations. `totals`: how many iterations loops have. */
export async function find(origin: Origin, at: Iterations, totals: Iterations, choose: Chooser): Promise<Found> {
  switch (origin.kind) {
    case "call":
      return { ...origin, call: callName(origin.path, at), item: null };
    case "choice":
      return chosen(origin, at, totals, choose);
    case "items":
      return { kind: "list", of: await Promise.all(origin.items.map((item) => find(item, at, totals, choose))) };
    case "index":
      return { kind: "literal", value: at[origin.loop] ?? 0 };
    case "carried": {
      const index = at[origin.loop] ?? 0;
      return index === 0 ? find(origin.first(), at, totals, choose) : find(origin.next(), { ...at, [origin.loop]: index - 1 }, totals, choose);
    }
    case "item":
      return itemOf(await find(origin.list, at, totals, choose), at[origin.loop] ?? 0);
    case "last":
      return iteration(origin, (totals[origin.loop] ?? 0) - 1, at, totals, choose);
    case "all": {
      const count = totals[origin.loop] ?? 0;
      return { kind: "list", of: await Promise.all(Array.from({ length: count }, (_, index) => iteration(origin, index, at, totals, choose))) };
    }
    default:
      return origin;
  }
}

function iteration(origin: Origin & { loop: string; of: Origin }, index: number, at: Iterations, totals: Iterations, choose: Chooser): Promise<Found> {
  if (index < 0) return Promise.resolve({ kind: "unknown", why: `How many iterations ${origin.loop} has is not known before it ran.` });
  return find(origin.of, { ...at, [origin.loop]: index }, totals, choose);
}

async function chosen(origin: Origin & { kind: "choice" }, at: Iterations, totals: Iterations, choose: Chooser): Promise<Found> {
  const name = await choose(await find(origin.select, at, totals, choose));
  if (name === null) return { kind: "unknown", why: "Which case the switch takes is known once it ran." };
  const taken = origin.cases[name] ?? origin.other;
  return taken ? find(taken, at, totals, choose) : { kind: "unknown", why: `The switch has no case ${name}.` };
}

function itemOf(list: Found, index: number): Found {
  if (list.kind === "list") return list.of[index] ?? { kind: "unknown", why: `The list has no item ${index}.` };
  if (list.kind === "call") return { ...list, item: index };
  if (list.kind === "literal" && Array.isArray(list.value)) return { kind: "literal", value: list.value[index] ?? null };
  return list;
}

/** A call by its path and the iterations of the loops around it: `denoise.loop[3].step`. */
export function callName(path: string, at: Iterations): string {
  const parts = path.split(".");
  return parts
    .map((part, depth) => {
      const index = depth < parts.length - 1 ? at[parts.slice(0, depth + 1).join(".")] : undefined;
      return index === undefined ? part : `${part}[${index}]`;
    })
    .join(".");
}

/** How many iterations loops have, by the names of the calls that are known. */
export function totalsOf(calls: Iterable<string>): Iterations {
  const totals: Record<string, number> = {};
  for (const call of calls) {
    for (const found of call.matchAll(/\[(\d+)\]/g)) {
      const loop = call.slice(0, found.index).replace(/\[\d+\]/g, "");
      totals[loop] = Math.max(totals[loop] ?? 0, Number(found[1]) + 1);
    }
  }
  return totals;
}

/** The loops around a value, the outermost first: those whose iterations can be chosen for it. */
export function loopsAround(path: string, totals: Iterations): string[] {
  const parts = path.split(".");
  return parts.slice(0, -1).map((_, depth) => parts.slice(0, depth + 1).join(".")).filter((loop) => loop in totals);
}
