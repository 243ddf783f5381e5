/** One item of a map as nodes of the level around it, so that it can go another way than the others. */

import { Draft } from "../document/draft";
import type { Edit } from "../document/edit";
import type { Values } from "../document/history";
import type { Json } from "../document/syntax";
import { type Body, type NodeEntry, type Point, type Reference, type Source, type WorkflowFile, isReference } from "../document/workflow";
import { NoSeam } from "./branch";
import { dependents, sourceNode } from "./flow";
import { freeName, freeNodeName } from "./names";
import { splitReference, substituted } from "./references";
import { bringIn, placeAround } from "./subworkflow";

export type Item = {
  map: string;
  index: number;
  /** What the map gives this item, of each of its lists. */
  given: Readonly<Record<string, Source>>;
};

/** An item of a map of the file itself. `values`: those of the file's inputs for the next run. Throws NoSeam. */
export function itemOf(file: WorkflowFile, map: string, index: number, values: Values): Item {
  const entry = file.nodes[map]!;
  const lists = Object.entries(entry.each ?? {}).map(([name, source]) => [name, listOf(file, map, name, source, values)] as const);
  const lengths = lists.map(([, list]) => list.length);
  const places = entry.mode === "product" ? combination(lengths, index) : lengths.map(() => index);
  const given = lists.map(([name, list], at): [string, Source | undefined] => [name, list[places[at]!]]);
  const missing = given.find(([, item]) => item === undefined);
  if (missing) throw new NoSeam(`${missing[0]} of ${map} has no item ${index + 1} any more; run the workflow as it is now, then branch.`);
  return { map, index, given: Object.fromEntries(given) as Record<string, Source> };
}

/** Which item of each list a combination takes: the last list goes fastest. */
function combination(lengths: readonly number[], index: number): number[] {
  return lengths.map((length, at) => {
    const faster = lengths.slice(at + 1).reduce((product, one) => product * one, 1);
    const place = Math.floor(index / faster);
    return at === 0 ? place : place % length;
  });
}

function listOf(file: WorkflowFile, map: string, name: string, source: Source, values: Values): readonly Json[] {
  const [first, input] = isReference(source) ? splitReference(source.from) : [];
  const list = first === "inputs" && input !== undefined ? (values[input] ?? file.inputs?.[input]?.default) : source;
  if (Array.isArray(list)) return list;
  const maker = isReference(source) ? source.from : "no list";
  throw new NoSeam(
    `${name} of ${map} comes from ${maker}, so that only a run knows its items. Write the list into the file or make it ` +
      "an input of the workflow, then branch.",
  );
}

/** The edits that give an item nodes of its own, and outputs for what comes after one of them; the map stays as it is. */
export function itemOut(file: WorkflowFile, item: Item, toward: string): readonly Edit[] {
  const entry = file.nodes[item.map]!;
  const body = entry.body!;
  const names = namesOf(file, body, item.index);
  const instead = (link: Reference) => fromItem(link, entry, item, names);
  const draft = new Draft(file);
  for (const [id, name] of names) bringIn(draft, [], name, body.nodes[id]!, entry.mute === true, undefined, instead);
  for (const [output, source] of outputsAfter(body, toward)) {
    const name = freeName(`${output}_${item.index + 1}`, draft.names(["outputs"]));
    draft.set(["outputs", name], substituted(source, instead) as Json);
  }
  if (file.layout?.positions) placeAround(draft, [], body, names, below(file.layout.positions, item.map));
  return draft.edits;
}

function namesOf(file: WorkflowFile, body: Body, index: number): Map<string, string> {
  const taken = new Set(Object.keys(file.nodes));
  return new Map(Object.keys(body.nodes).map((id) => {
    const name = freeNodeName(`${id}_${index + 1}`, taken);
    taken.add(name);
    return [id, name];
  })); // prettier-ignore
}

/** What a link of the body is outside, for one item. */
function fromItem(link: Reference, entry: NodeEntry, item: Item, names: ReadonlyMap<string, string>): Source | undefined {
  const [start, rest] = splitReference(link.from);
  if (start === "index") return item.index;
  if (start === "each" && rest !== undefined) return item.given[rest];
  if (start === "inputs" && rest !== undefined) return entry.inputs?.[rest];
  const name = names.get(start) ?? start;
  return { from: rest === undefined ? name : `${name}.${rest}` };
}

/** The outputs of a body that a node of it has a part in. */
function outputsAfter(body: Body, node: string): [string, Source][] {
  const after = dependents(body.nodes, (from) => sourceNode(from) === node).add(node);
  return Object.entries(body.outputs ?? {}).filter(([, source]) => isReference(source) && after.has(sourceNode(source.from)));
}

const DROP = 420;

/** Below everything that stands in the file, under the map. */
function below(positions: Readonly<Record<string, Point>>, map: string): Point {
  return [positions[map]?.[0] ?? 0, Math.max(0, ...Object.values(positions).map(([, y]) => y)) + DROP];
}
