/** The nodes and links that React Flow draws, made from a level. What did not change stays the very object. */

import type { Edge, Node } from "@xyflow/react";
import type { CheckResult, Problem } from "../api/types";
import { same } from "../document/edit";
import type { Json } from "../document/syntax";
import type { Frame, Note } from "../document/workflow";
import { type Graph, type GraphNode, type Link, OUTPUTS, levelAt } from "../graph/graph";
import { typeColor } from "../parts/typeColor";
import { type Crumb, runPath } from "../state/documents";
import { problemsOf } from "../state/checking";
import type { Level } from "../state/level";
import type { Positions } from "./placement";
import { sizeOf, socketsOf } from "./size";

export type NodeData = { node: GraphNode; crumb: Crumb; problems: readonly Problem[]; collapsed: boolean; unfolded: boolean };
export type GraphFlowNode = Node<NodeData, "graph">;
export type NoteFlowNode = Node<{ name: string; note: Note }, "note">;
export type FrameFlowNode = Node<{ name: string; frame: Frame }, "frame">;
export type FlowNode = GraphFlowNode | NoteFlowNode | FrameFlowNode;
export type FlowLink = Edge<{ type: string }>;

/** Notes and frames are no nodes of the file: their ids among those that are drawn. */
export const noteId = (name: string) => `@note:${name}`;
export const frameId = (name: string) => `@frame:${name}`;

/** What an id on the canvas names. */
export function named(id: string): { kind: "node" | "notes" | "frames"; name: string } {
  const found = /^@(note|frame):(.*)$/s.exec(id);
  return found ? { kind: found[1] === "note" ? "notes" : "frames", name: found[2]! } : { kind: "node", name: id };
}

/** How a level is looked at. */
export type Look = { positions: Positions; check: CheckResult | undefined; unfolded: ReadonlySet<string>; selection: readonly string[] };

export function flowNodes(level: Level, look: Look, before: readonly FlowNode[]): FlowNode[] {
  const layout = levelAt(level.file, level.crumb.body)?.layout ?? {};
  const known = new Map(before.map((one) => [one.id, one]));
  const collapsed = new Set(layout.collapsed);
  const made: FlowNode[] = [
    ...Object.entries(layout.frames ?? {}).map(([name, frame]) => frameNode(name, frame)),
    ...Object.entries(layout.notes ?? {}).map(([name, note]) => noteNode(name, note)),
    ...level.graph.nodes.map((node) => graphNode(node, level, look, collapsed.has(node.id))),
  ];
  const selected = new Set(look.selection);
  return made.map((one) => kept({ ...one, selected: selected.has(one.id) } as FlowNode, known.get(one.id)));
}

function graphNode(node: GraphNode, { crumb }: Level, look: Look, collapsed: boolean): GraphFlowNode {
  const path = runPath(crumb, node.id);
  const unfolded = look.unfolded.has(path);
  const [x, y] = look.positions[node.id] ?? [0, 0];
  const size = sizeOf(node, unfolded, collapsed);
  return {
    id: node.id, type: "graph", position: { x, y }, initialWidth: size.width, initialHeight: size.height,
    handles: socketsOf(node, unfolded, collapsed),
    data: { node, crumb, problems: problemsAt(look.check, crumb, node), collapsed, unfolded },
    domAttributes: { "aria-labelledby": `${domId(node.id)}-title ${domId(node.id)}-state` } as object,
  }; // prettier-ignore
}

/** An id for the page that an attribute can refer to. */
export function domId(id: string): string {
  return `node-${encodeURIComponent(id)}`;
}

/** The problems of a node; those of a body's outputs stand with the loop, those of the file's with nobody. */
function problemsAt(check: CheckResult | undefined, crumb: Crumb, node: GraphNode): readonly Problem[] {
  if (node.id !== OUTPUTS) return problemsOf(check, runPath(crumb, node.id));
  const path = crumb.via.join(".");
  return (check?.problems ?? []).filter((one) => one.node === path && node.inputs.some((port) => isAt(one, port)));
}

/** Whether a problem is one of a port. */
export function isAt(problem: Problem, port: { id: string; name: string }): boolean {
  return problem.port !== "" && (problem.port === port.id || problem.port === port.name || problem.port === `outputs.${port.name}`);
}

function noteNode(name: string, note: Note): NoteFlowNode {
  const [width, height] = note.size;
  return {
    id: noteId(name), type: "note", position: { x: note.at[0], y: note.at[1] }, width, height, data: { name, note },
    ariaLabel: `Note: ${note.text.slice(0, 80)}`,
  }; // prettier-ignore
}

/** Below all nodes, even while it is selected, which raises it by 1000. */
const BELOW = -1001;

function frameNode(name: string, frame: Frame): FrameFlowNode {
  const [width, height] = frame.size;
  return {
    id: frameId(name), type: "frame", position: { x: frame.at[0], y: frame.at[1] }, width, height, data: { name, frame },
    zIndex: BELOW, ariaLabel: `Frame: ${frame.title}`, dragHandle: ".frame-head",
  }; // prettier-ignore
}

/** The node as it was where nothing of it changed; else the new one, with the size that the browser measured. */
function kept(made: FlowNode, before: FlowNode | undefined): FlowNode {
  if (before === undefined || before.type !== made.type) return made;
  const data = same(made.data as unknown as Json, before.data as unknown as Json) ? before.data : made.data;
  const position = before.dragging ? before.position : made.position;
  const still = position.x === before.position.x && position.y === before.position.y;
  const sized = made.width === before.width && made.height === before.height;
  if (data === before.data && still && sized && made.selected === before.selected) return before;
  const { handles: _, ...rest } = made;
  const shaped = before.measured ? rest : made;
  return { ...shaped, data, position, measured: before.measured, dragging: before.dragging } as FlowNode;
}

export function flowLinks(graph: Graph, selected: ReadonlySet<string>, before: readonly FlowLink[]): FlowLink[] {
  const known = new Map(before.map((one) => [one.id, one]));
  const outputs = new Map(graph.nodes.map((node) => [node.id, new Map(node.outputs.map((port) => [port.id, port.type]))]));
  return graph.links.map((link) => {
    const type = outputs.get(link.from)?.get(link.output) ?? "any";
    const old = known.get(link.id);
    if (old && old.data?.type === type && old.selected === selected.has(link.id)) return old;
    return flowLink(link, type, selected.has(link.id));
  });
}

function flowLink(link: Link, type: string, selected: boolean): FlowLink {
  return {
    id: link.id, source: link.from, sourceHandle: link.output, target: link.to, targetHandle: link.input, data: { type }, selected,
    style: { stroke: typeColor(type) }, ariaLabel: `Link from ${link.from}, ${link.output}, to ${link.to}, ${link.input}`,
  }; // prettier-ignore
}
