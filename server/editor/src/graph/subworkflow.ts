/** A selection as a file of its own that one node calls, and back. */

import { Draft } from "../document/draft";
import { EditProblem, type Path, applyEdits } from "../document/edit";
import type { Change } from "../document/history";
import { type Json, parse, write } from "../document/syntax";
import {
  type Body, type InputDeclaration, type NodeEntry, type Point, type Reference, type Source,
  type WorkflowFile,
} from "../document/workflow"; // prettier-ignore
import { dropLayout, substitute } from "./dropping";
import { place } from "./edits";
import { type Graph, type GraphNode, type Port, levelAt, referenceTo } from "./graph";
import { freeName, freeNodeName, newName } from "./names";
import { type Use, own, placesOf, placesOfNode, splitReference, substituted, usesOf } from "./references";
import { declaredType } from "./types";

/** The links that cross the border of a selection: names of inputs and outputs of the new file, by reference. */
type Border = {
  nodes: ReadonlyMap<string, GraphNode>;
  inputs: Map<string, { name: string; declaration: InputDeclaration }>;
  outputs: Map<string, string>;
};

/**
 * Moves nodes of a level into a file of their own; `name` is its name without `.json`. One node that calls it takes
 * their place. Throws an EditProblem where that is not possible.
 */
export function makeSubworkflow(
  file: WorkflowFile,
  body: Path,
  ids: Iterable<string>,
  name: string,
  graph: Graph,
): { change: Change; text: string; node: string } {
  const level = levelAt(file, body);
  const wanted = new Set(ids);
  const chosen = new Set(Object.keys(level?.nodes ?? {}).filter((id) => wanted.has(id)));
  if (level === null || chosen.size === 0) throw new EditProblem("Select the nodes that the new workflow is to hold.");
  refuseRoundabouts(level, chosen);
  const border = borderOf(level, chosen, graph);
  if (border.outputs.size === 0)
    throw new EditProblem("The selected nodes have no outputs, so a workflow of them could give nothing.");
  const text = newFile(level, chosen, border, name);
  const { change, node } = callInstead(file, body, level, chosen, border, name);
  return { change, text, node };
}

/** A node outside that stands between nodes of the selection would have to run before and after the new one. */
function refuseRoundabouts(level: WorkflowFile | Body, chosen: ReadonlySet<string>): void {
  const uses = usesOf(level);
  const after = reach(uses, chosen, (use) => [use.start, use.place.node]);
  const before = reach(uses, chosen, (use) => [use.place.node, use.start]);
  const between = [...after].find((id) => before.has(id) && !chosen.has(id));
  if (between === undefined) return;
  throw new EditProblem(
    `"${between}" stands between nodes of the selection: it takes from them and gives to them. Select it too.`,
  );
}

/** All nodes that can be come to from some, along links. */
function reach(
  uses: readonly Use[],
  from: ReadonlySet<string>,
  ends: (use: Use) => [string | null, string | null],
): Set<string> {
  const next = new Map<string, string[]>();
  for (const [start, end] of uses.map(ends)) {
    if (start === null || end === null) continue;
    const held = next.get(start);
    if (held) held.push(end);
    else next.set(start, [end]);
  }
  const found = new Set(from);
  for (const id of found) for (const end of next.get(id) ?? []) found.add(end);
  return found;
}

function borderOf(level: WorkflowFile | Body, chosen: ReadonlySet<string>, graph: Graph): Border {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const border: Border = { nodes, inputs: new Map(), outputs: new Map() };
  for (const use of usesOf(level)) {
    const inside = use.place.node !== null && chosen.has(use.place.node);
    const comes = chosen.has(use.start);
    if (inside && !comes) addInput(border, use);
    if (!inside && comes) addOutput(border, whole(use.from, border));
  }
  if (border.outputs.size === 0) for (const reference of unused(chosen, graph)) addOutput(border, reference);
  return border;
}

/** A reference with the name of its output: `noise` and `noise.noise` are the same. */
function whole(from: string, border: Border): string {
  const [name, output] = splitReference(from);
  const only = border.nodes.get(name)?.outputs[0]?.id;
  return output === undefined && only !== undefined ? `${name}.${only}` : from;
}

/** A reference as people write it: without the output of a node that has no other. */
function short(reference: string, border: Border): string {
  const [name, output] = splitReference(reference);
  const node = border.nodes.get(name);
  return node === undefined || output === undefined ? reference : referenceTo(node, output);
}

function addInput(border: Border, use: Use): void {
  const port = portOf(use, border);
  const key = whole(use.from, border);
  const type = declaredType(port?.type ?? "any");
  const held = border.inputs.get(key);
  if (held !== undefined) {
    if (held.declaration.type !== type) held.declaration.type = "any";
    return;
  }
  const base = String(use.place.path.at(use.place.path.length > 3 ? 3 : 2));
  const name = freeName(
    base,
    [...border.inputs.values()].map((input) => input.name),
  );
  border.inputs.set(key, { name, declaration: { type, ...(port?.help && { description: port.help }) } });
}

function portOf(use: Use, border: Border): Port | undefined {
  const node = border.nodes.get(use.place.node ?? "");
  const [, , section, name] = use.place.path;
  return node?.inputs.find((port) => port.section === section && (name === undefined || port.name === name));
}

function addOutput(border: Border, reference: string): void {
  if (border.outputs.has(reference)) return;
  const [node, output] = splitReference(reference);
  // The only output of a node is called "output" where it has no name of its own: the node's says more.
  const base = output === undefined || output === "output" ? node : output;
  border.outputs.set(reference, freeName(base, border.outputs.values()));
}

/** All outputs of the selection, for one that nothing outside takes from. */
function unused(chosen: ReadonlySet<string>, graph: Graph): string[] {
  const nodes = graph.nodes.filter((node) => chosen.has(node.id));
  return nodes.flatMap((node) => node.outputs.map((port) => `${node.id}.${port.id}`));
}

function newFile(level: WorkflowFile | Body, chosen: ReadonlySet<string>, border: Border, name: string): string {
  const empty = parse('{\n  "stepgraph": 1\n}\n');
  const draft = new Draft({ stepgraph: 1 } as WorkflowFile);
  draft.set(["title"], titleOf(name));
  for (const input of border.inputs.values()) draft.set(["inputs", input.name], input.declaration as Json);
  for (const id of Object.keys(level.nodes))
    if (chosen.has(id)) draft.set(["nodes", id], level.nodes[id] as unknown as Json);
  for (const [reference, output] of border.outputs) draft.set(["outputs", output], { from: short(reference, border) });
  for (const one of placesOf(draft.file)) {
    if (one.node !== null) substitute(draft, [], one, (link) => inner(link.from, chosen, border) ?? link);
  }
  const positions = Object.entries(level.layout?.positions ?? {}).filter(([id]) => chosen.has(id));
  place(draft, [], Object.fromEntries(positions));
  return write(applyEdits(empty, draft.edits));
}

function inner(from: string, chosen: ReadonlySet<string>, border: Border): { from: string } | null {
  const [start] = splitReference(from);
  if (chosen.has(start)) return null;
  const input = border.inputs.get(whole(from, border));
  return input ? { from: `inputs.${input.name}` } : null;
}

function titleOf(name: string): string {
  const words = name.replace(/^.*\//, "").replace(/[_-]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function callInstead(
  file: WorkflowFile,
  body: Path,
  level: WorkflowFile | Body,
  chosen: ReadonlySet<string>,
  border: Border,
  name: string,
): { change: Change; node: string } {
  const draft = new Draft(file);
  const order = Object.keys(level.nodes);
  const next = order.slice(order.findIndex((id) => chosen.has(id))).find((id) => !chosen.has(id));
  const at = middleOf(level, chosen);
  for (const id of chosen) draft.remove([...body, "nodes", id]);
  const node = newName(levelAt(draft.file, body)!, name.replace(/^.*\//, ""));
  const inputs = [...border.inputs].map(([reference, input]) => [input.name, { from: short(reference, border) }] as const);
  const entry = {
    type: "workflow",
    path: `${name}.json`,
    ...(inputs.length > 0 && { inputs: Object.fromEntries(inputs) }),
  };
  draft.set([...body, "nodes", node], entry as Json, next);
  for (const one of placesOf(levelAt(draft.file, body)!)) {
    substitute(draft, body, one, (link) => outer(link.from, node, chosen, border) ?? link);
  }
  dropLayout(draft, body, chosen);
  if (at) place(draft, body, { [node]: at });
  return { change: { edits: draft.edits, label: `Make ${name}.json of ${chosen.size} nodes` }, node };
}

function outer(from: string, node: string, chosen: ReadonlySet<string>, border: Border): { from: string } | null {
  const [start] = splitReference(from);
  if (!chosen.has(start)) return null;
  const output = border.outputs.get(whole(from, border));
  return output === undefined ? null : { from: border.outputs.size === 1 ? node : `${node}.${output}` };
}

/** Where a node stands that takes the place of others; null where the level has no layout. */
function middleOf(level: WorkflowFile | Body, chosen: ReadonlySet<string>): Point | null {
  const points = Object.entries(level.layout?.positions ?? {}).flatMap(([id, at]) => (chosen.has(id) ? [at] : []));
  return points.length === 0 ? null : middle(points);
}

function middle(points: readonly Point[]): Point {
  const mean = (axis: 0 | 1) => Math.round(points.reduce((sum, at) => sum + at[axis], 0) / points.length);
  return [mean(0), mean(1)];
}

/** Puts the nodes of the file that a node calls in its place. Names that are taken get a number. */
export function inlineWorkflow(file: WorkflowFile, body: Path, node: string, subFile: WorkflowFile): Change {
  const level = levelAt(file, body);
  const call = own(level?.nodes, node);
  if (level === null || call?.type !== "workflow") throw new EditProblem(`"${node}" is no node that calls a workflow.`);
  if (call.bypass)
    throw new EditProblem(`"${node}" is bypassed; the nodes of a workflow cannot be. Take the bypass off first.`);
  const names = innerNames(subFile, level, node);
  const instead = (link: Reference) => fromWithin(link, names, call, subFile);
  const draft = new Draft(file);
  for (const one of placesOf(level)) substitute(draft, body, one, (link) => fromCall(link, node, subFile, instead));
  const order = Object.keys(level.nodes);
  const next = order[order.indexOf(node) + 1];
  draft.remove([...body, "nodes", node]);
  for (const [id, name] of names) bringIn(draft, body, name, subFile.nodes[id]!, call.mute === true, next, instead);
  dropLayout(draft, body, new Set([node]));
  if (level.layout?.positions) placeAround(draft, body, subFile, names, own(level.layout.positions, node) ?? [0, 0]);
  return { edits: draft.edits, label: `Put the nodes of ${call.path} in the place of ${node}` };
}

/** The names that nodes of the called file get, by those that they have in it. */
function innerNames(subFile: WorkflowFile, level: WorkflowFile | Body, node: string): Map<string, string> {
  const taken = new Set(Object.keys(level.nodes).filter((name) => name !== node));
  const names = new Map<string, string>();
  for (const id of Object.keys(subFile.nodes)) {
    const name = freeNodeName(id, taken);
    taken.add(name);
    names.set(id, name);
  }
  return names;
}

/** What a link of the called file is in the level: a node under its new name, or what the call gave as the input. */
function fromWithin(
  link: Reference,
  names: ReadonlyMap<string, string>,
  call: NodeEntry,
  subFile: WorkflowFile,
): Source | undefined {
  const [start, rest] = splitReference(link.from);
  if (start === "inputs" && rest !== undefined) {
    return Object.hasOwn(call.inputs ?? {}, rest) ? call.inputs![rest] : own(subFile.inputs, rest)?.default;
  }
  const name = names.get(start);
  if (name === undefined || name === start) return link;
  return { from: rest === undefined ? name : `${name}.${rest}` };
}

/** What a link of the level is when it took from the call: what the called file makes that output of. */
function fromCall(
  link: Reference,
  node: string,
  subFile: WorkflowFile,
  instead: (link: Reference) => Source | undefined,
): Source | undefined {
  const [start, rest] = splitReference(link.from);
  if (start !== node) return link;
  const output = rest ?? Object.keys(subFile.outputs ?? {})[0] ?? "";
  const source = own(subFile.outputs, output);
  return source === undefined ? undefined : substituted(source, instead);
}

/** Puts a node of another level into a level, under a name that is free there. `instead`: what its links are there. */
export function bringIn(
  draft: Draft,
  body: Path,
  name: string,
  entry: NodeEntry,
  mute: boolean,
  before: string | undefined,
  instead: (link: Reference) => Source | undefined,
): void {
  draft.set([...body, "nodes", name], entry as unknown as Json, before);
  for (const one of placesOfNode(name, entry)) substitute(draft, body, one, instead);
  if (mute && !entry.bypass) draft.set([...body, "nodes", name, "mute"], true);
}

/** Places nodes that were brought in as they lay in their own level, moved so that their middle is at a point. */
export function placeAround(
  draft: Draft,
  body: Path,
  from: Pick<WorkflowFile, "layout">,
  names: ReadonlyMap<string, string>,
  [x, y]: Point,
): void {
  const known = from.layout?.positions ?? {};
  const points = [...names].map(([id, name], index) => [name, own(known, id) ?? ([index * 280, 0] as Point)] as const);
  const [left, top] = middle(points.map(([, at]) => at));
  const placed = points.map(([name, at]) => [name, [x + at[0] - left, y + at[1] - top] as Point]);
  place(draft, body, Object.fromEntries(placed));
}
