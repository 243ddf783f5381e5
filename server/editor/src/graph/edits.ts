/** What people do to the nodes and links of a level, as changes of its file. Each is one step of undo. */

import type { NodeType } from "../api/types";
import { Draft } from "../document/draft";
import { type Edit, EditProblem, type Path } from "../document/edit";
import type { Change } from "../document/history";
import type { Json } from "../document/syntax";
import { type Layout, type NodeEntry, type Point, type WorkflowFile, isReference } from "../document/workflow";
import { dropLayout, dropLinksTo, dropPlace, isGiven, redirect } from "./dropping";
import {
  type Graph,
  type GraphNode,
  INPUTS,
  type Link,
  OUTPUTS,
  type Port,
  levelAt,
  referenceTo,
  sourcePath,
} from "./graph";
import { asName, newName, nodeNameProblem, refuse } from "./names";
import { isItem } from "./types";

export { newName } from "./names";
export * from "./ports";

export type Positions = Readonly<Record<string, Point>>;
export type OutputEnd = { node: string; output: string };
export type InputEnd = { node: string; input: string };

export type AddOptions = {
  /** The file that a `workflow` node calls, such as "denoise.json". */
  path?: string;
  /** What its name is made of; else the type or the path. */
  base?: string;
  title?: string;
  /** Literals to begin with. */
  inputs?: Record<string, Json>;
  /** Where the nodes of the level stand; they are written too, as by `moveNodes`. */
  all?: Positions;
  /** The graph of the level; for links. */
  graph?: Graph;
  /** A link from an output of the level into the new node; without `input`, a built-in type gets a fitting port. */
  from?: OutputEnd & { input?: string };
  /** A link from an output of the new node into an input of the level. */
  to?: InputEnd & { output: string };
  /** The type as the catalog has it: tells whether its outputs need their names in links. */
  known?: NodeType;
};

/** A new node at a place, with its name. */
export function addNode(
  file: WorkflowFile,
  body: Path,
  type: string,
  at: Point,
  options: AddOptions = {},
): { change: Change; name: string } {
  const level = levelAt(file, body);
  if (level === null) throw new EditProblem(`There is no level at ${body.join(".")}.`);
  const called = options.path?.replace(/^.*\//, "").replace(/\.json$/, "");
  const name = newName(level, options.base ?? called ?? type.split(/[./:]/).at(-1) ?? type);
  const draft = new Draft(file);
  draft.set([...body, "nodes", name], newEntry(type, options) as unknown as Json);
  place(draft, body, { ...options.all, [name]: at });
  if (options.graph && options.from) linkInto(draft, body, name, type, options.graph, options.from);
  if (options.graph && options.to) linkFrom(draft, body, name, options.graph, options.to, options.known);
  return { change: { edits: draft.edits, label: `Add ${name}` }, name };
}

/** The least that a node of a type needs to be one. */
function newEntry(type: string, options: AddOptions): NodeEntry {
  const start = { type, ...(options.title && { title: options.title }) };
  const inputs = options.inputs && Object.keys(options.inputs).length > 0 ? { inputs: options.inputs } : {};
  const linked = options.from !== undefined;
  if (type === "loop") return { ...start, ...inputs, ...(!linked && { times: 1 }), body: { nodes: {} } };
  if (type === "map")
    return { ...start, ...inputs, each: linked ? {} : { item: [] }, body: { nodes: {}, outputs: {} } };
  if (type === "switch") return { ...start, select: "a", cases: { a: null } };
  if (type === "workflow") return { ...start, path: options.path ?? "", ...inputs };
  return { ...start, ...inputs };
}

function linkInto(
  draft: Draft,
  body: Path,
  name: string,
  type: string,
  graph: Graph,
  from: OutputEnd & { input?: string },
): void {
  const node = nodeOf(graph, from.node);
  const given = node.outputs.find((port) => port.id === from.output)?.type ?? "any";
  const path =
    from.input === undefined
      ? firstPort(type, from.output, given)
      : placeOfPort(from.input, draft, [...body, "nodes", name]);
  const source = { from: referenceTo(node, from.output) };
  draft.set([...body, "nodes", name, ...path], source);
  // A loop goes through what it is given; one that is given no sequence says how often it runs.
  if (type === "loop" && path[0] !== "each") draft.set([...body, "nodes", name, "times"], 1);
  if (type === "loop" && path[0] === "carry")
    draft.set([...body, "nodes", name, "body", ...path], { from: path.join(".") });
  if (type === "map" && path[0] !== "each") draft.set([...body, "nodes", name, "each"], { item: [] });
}

/** Where a link goes that is drawn to a new loop, map or switch. */
function firstPort(type: string, output: string, given: string): Path {
  const name = asName(output.split(".").at(-1) ?? output);
  if (type === "switch") return ["cases", "a"];
  if (type === "map") return ["each", name];
  if (type === "loop") return [/^list\[|^Timesteps$|^array$/.test(given) ? "each" : "carry", name];
  return ["inputs", name];
}

/** Where the source of a port stands in the entry of its node, by the port's id. */
function placeOfPort(id: string, draft: Draft, entry: Path): Path {
  const found = /^(each|carry|cases)\.(.*)$/.exec(id);
  if (found) return [found[1]!, found[2]!];
  const type = draft.at([...entry, "type"]);
  if ((type === "switch" && (id === "select" || id === "default")) || (type === "loop" && id === "times")) return [id];
  return ["inputs", id];
}

function linkFrom(
  draft: Draft,
  body: Path,
  name: string,
  graph: Graph,
  to: InputEnd & { output: string },
  known?: NodeType,
): void {
  const alone = known
    ? Object.keys(known.outputs).length === 1
    : draft.at([...body, "nodes", name, "type"]) === "switch";
  const { node, port } = inputOf(graph, to);
  const given = known?.outputs[to.output]?.type ?? "any";
  draft.set(sourcePath(body, node, port), linked(port, given, alone ? name : `${name}.${to.output}`));
}

/** Links an output to an input. One that had a link gets the new one; a list of links gets one more. */
export function connect(graph: Graph, body: Path, from: OutputEnd, to: InputEnd): Change {
  const origin = nodeOf(graph, from.node);
  const { node, port } = inputOf(graph, to);
  const given = origin.outputs.find((output) => output.id === from.output)?.type ?? "any";
  const source = linked(port, given, referenceTo(origin, from.output));
  return { edits: [{ op: "set", path: sourcePath(body, node, port), value: source }], label: `Link to ${port.name}` };
}

function linked(port: Port, given: string, from: string): Json {
  if (!isItem(given, port.type)) return { from };
  const held = Array.isArray(port.source) ? port.source : isReference(port.source) ? [port.source] : [];
  return held.some((item) => isReference(item) && item.from === from) ? held : [...held, { from }];
}

function nodeOf(graph: Graph, id: string): GraphNode {
  const found = graph.nodes.find((node) => node.id === id);
  if (found === undefined) throw new EditProblem(`There is no node "${id}" here.`);
  return found;
}

function inputOf(graph: Graph, end: InputEnd): { node: GraphNode; port: Port } {
  const node = nodeOf(graph, end.node);
  const port = node.inputs.find((input) => input.id === end.input);
  if (port === undefined) throw new EditProblem(`The node "${end.node}" has no input "${end.input}".`);
  return { node, port };
}

/** Takes the links of an input away; of one in a list of links, that one where `item` says its place. */
export function disconnect(graph: Graph, body: Path, node: string, portId: string, item?: number): Change {
  const draft = new Draft(graph.file);
  const port = unlink(draft, graph, body, { node, input: portId }, item);
  return { edits: draft.edits, label: `Remove the link to ${port.name}` };
}

function unlink(draft: Draft, graph: Graph, body: Path, end: InputEnd, item: number | undefined): Port {
  const { node, port } = inputOf(graph, end);
  const path = sourcePath(body, node, port);
  const held = draft.at(path);
  const left = Array.isArray(held) && item !== undefined ? held.toSpliced(item, 1) : [];
  if (left.length > 0) draft.set(path, left);
  else if (held !== undefined)
    dropPlace(draft, body, { node: node.id === OUTPUTS ? null : node.id, path: path.slice(body.length) });
  return port;
}

/** Removes nodes, the links that came from them, and their places in the layout. */
export function removeNodes(file: WorkflowFile, body: Path, ids: Iterable<string>): Change {
  const gone = [...ids].filter((id) => id !== INPUTS && id !== OUTPUTS);
  const draft = new Draft(file);
  takeOut(draft, body, gone);
  return { edits: draft.edits, label: gone.length === 1 ? `Remove ${gone[0]}` : `Remove ${gone.length} nodes` };
}

/** Removes links and nodes at once. */
export function removeAll(graph: Graph, body: Path, ids: Iterable<string>, links: readonly Link[]): Change {
  const gone = [...ids].filter((id) => id !== INPUTS && id !== OUTPUTS);
  const draft = new Draft(graph.file);
  // The last first: the places of those before it in a list stay what they are.
  for (const link of [...links].reverse()) unlink(draft, graph, body, { node: link.to, input: link.input }, link.item);
  takeOut(draft, body, gone);
  return { edits: draft.edits, label: "Remove the selection" };
}

/** Takes nodes out of a level, with all that came from them. */
function takeOut(draft: Draft, body: Path, ids: readonly string[]): void {
  for (const id of ids) draft.remove([...body, "nodes", id]);
  dropLinksTo(draft, body, new Set(ids));
  dropLayout(draft, body, new Set(ids));
}

/** Renames a node, in its level's links and layout too. Throws an EditProblem with words for people. */
export function renameNode(file: WorkflowFile, body: Path, from: string, to: string): Change {
  const level = levelAt(file, body);
  if (from === to || level === null) return { edits: [], label: "" };
  refuse(nodeNameProblem(to, Object.keys(level.nodes)));
  const draft = new Draft(file);
  draft.rename([...body, "nodes", from], to);
  redirect(draft, body, (link) => (link === from || link.startsWith(`${from}.`) ? to + link.slice(from.length) : link));
  renameInLayout(draft, [...body, "layout"], from, to);
  return { edits: draft.edits, label: `Rename ${from} to ${to}` };
}

function renameInLayout(draft: Draft, layout: Path, from: string, to: string): void {
  if (draft.at([...layout, "positions", from]) !== undefined) draft.rename([...layout, "positions", from], to);
  const collapsed = draft.at([...layout, "collapsed"]);
  if (!Array.isArray(collapsed)) return;
  collapsed.forEach((id, at) => id === from && draft.set([...layout, "collapsed", at], to));
}

/** Writes a literal into an input of a node, or takes it away (undefined). */
export function setInput(body: Path, node: GraphNode, port: Port, value: Json | undefined, group?: string): Change {
  const path = sourcePath(body, node, port);
  const edits: Edit[] = value === undefined ? cleared(path, node, port) : [{ op: "set", path, value }];
  return { edits, label: `Set ${port.name}`, ...(group !== undefined && { group }) };
}

function cleared(path: Path, node: GraphNode, port: Port): Edit[] {
  if (port.section === "times") return [{ op: "set", path, value: 1 }];
  if (node.id !== OUTPUTS && isGiven(port.section, node.type)) return [{ op: "set", path, value: null }];
  const gone: Edit = { op: "remove", path, when: "there" };
  return port.section === "inputs" ? [gone, { op: "remove", path: path.slice(0, -1), when: "empty" }] : [gone];
}

/** Sets what any node may have; empty texts and `false` are taken out. A node is muted or bypassed, not both. */
export function setEntry(
  body: Path,
  node: string,
  key: "title" | "note" | "mute" | "bypass",
  value: string | boolean | undefined,
): Change {
  const path = [...body, "nodes", node];
  const label = `${key[0]!.toUpperCase()}${key.slice(1)} of ${node}`;
  if (value === undefined || value === "" || value === false) {
    return { edits: [{ op: "remove", path: [...path, key], when: "there" }], label };
  }
  const other = key === "mute" ? "bypass" : key === "bypass" ? "mute" : null;
  const edits: Edit[] = other ? [{ op: "remove", path: [...path, other], when: "there" }] : [];
  return { edits: [...edits, { op: "set", path: [...path, key], value }], label };
}

/** Moves nodes. `all`: where all nodes of the level stand; they are written too, so that none moves by itself later. */
export function moveNodes(body: Path, positions: Positions, all: Positions = {}): Change {
  const path = [...body, "layout", "positions"];
  const edits = Object.entries({ ...all, ...positions }).map(([id, at]): Edit => ({
    op: "set",
    path: [...path, id],
    value: whole(at),
  }));
  return { edits, label: Object.keys(positions).length === 1 ? "Move a node" : "Move nodes" };
}

function whole([x, y]: Point): Point {
  return [Math.round(x) + 0, Math.round(y) + 0]; // + 0: never -0, which JSON does not tell apart
}

/** Writes a part of a level's layout; undefined, or one without entries, takes it out. */
export function setLayout<Key extends keyof Layout>(body: Path, key: Key, value: Layout[Key] | undefined): Change {
  const path = [...body, "layout", key];
  const label = "Change the layout";
  if (value !== undefined && Object.keys(value).length > 0)
    return { edits: [{ op: "set", path, value: value as Json }], label };
  return {
    edits: [
      { op: "remove", path, when: "there" },
      { op: "remove", path: path.slice(0, -1), when: "empty" },
    ],
    label,
  };
}

/** Writes where nodes stand. */
export function place(draft: Draft, body: Path, positions: Positions): void {
  for (const [id, at] of Object.entries(positions)) draft.set([...body, "layout", "positions", id], whole(at));
}
