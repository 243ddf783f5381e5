/**
 * Where the nodes of a level are. The file says so; what it does not say is remembered here while the page is open, so
 * that nothing jumps. A level that was never laid out is laid out once, when it is first shown.
 */

import type { Point } from "../document/workflow";
import { type GraphNode, INPUTS, OUTPUTS, levelAt } from "../graph/graph";
import type { Crumb } from "../state/documents";
import type { Level } from "../state/level";
import type { Size } from "./layout";
import { sizeOf } from "./size";

export type Positions = Record<string, Point>;

const remembered = new Map<string, Positions>();

function keyOf(crumb: Crumb): string {
  return `${crumb.doc}/${crumb.body.join("/")}`;
}

export function remember(crumb: Crumb, positions: Positions): void {
  remembered.set(keyOf(crumb), { ...remembered.get(keyOf(crumb)), ...positions });
}

/** The position of each node of a level; null for one that has to be laid out first. */
export function positionsOf(level: Level): Positions | null {
  const before = remembered.get(keyOf(level.crumb));
  const known = { ...before, ...levelAt(level.file, level.crumb.body)?.layout?.positions };
  const nodes = level.graph.nodes;
  const placed = nodes.filter((node) => known[node.id]);
  if (placed.length === 0 || (before === undefined && placed.length < nodes.length / 2)) return null;
  const made: Positions = Object.fromEntries(placed.map((node) => [node.id, known[node.id]!]));
  for (const node of nodes) made[node.id] ??= beside(node, level, made);
  const fresh = nodes.filter((node) => !known[node.id]);
  if (fresh.length > 0) remember(level.crumb, Object.fromEntries(fresh.map((node) => [node.id, made[node.id]!])));
  return made;
}

/** Where nodes are shown that the file has no place for. They are written with the first place that somebody chooses. */
export function unwritten(level: Level): Positions {
  const written = levelAt(level.file, level.crumb.body)?.layout?.positions ?? {};
  return Object.fromEntries(Object.entries(positionsOf(level) ?? {}).filter(([id]) => written[id] === undefined));
}

/** A free place for a node that has none: the ends at the sides, others to the right of what they take from. */
function beside(node: GraphNode, level: Level, known: Positions): Point {
  const boxes = level.graph.nodes.filter((one) => known[one.id]).map((one) => ({ node: one, at: known[one.id]!, size: sizeOf(one, false, false) }));
  const top = Math.min(...boxes.map((box) => box.at[1]));
  if (node.id === INPUTS) return [Math.min(...boxes.map((box) => box.at[0])) - 380, top];
  const right = Math.max(...boxes.map((box) => box.at[0] + box.size.width));
  if (node.id === OUTPUTS) return [right + 80, top];
  const sources = new Set(level.graph.links.filter((link) => link.to === node.id).map((link) => link.from));
  const near = boxes.filter((box) => sources.has(box.node.id));
  const x = near.length > 0 ? Math.max(...near.map((box) => box.at[0] + box.size.width)) + 80 : Math.min(...boxes.map((box) => box.at[0]));
  const column = boxes.filter((box) => box.at[0] < x + 240 && box.at[0] + box.size.width > x);
  const below = Math.max(top, ...column.map((box) => box.at[1] + box.size.height + 30));
  return [Math.round(x), Math.round(near.length + column.length > 0 ? below : top)];
}

/** Lays a level out by its links. The library for it comes when it is first needed. */
export async function layOutLevel(level: Level, sizes: (node: GraphNode) => Size): Promise<Positions> {
  const { layOutGraph } = await import("./layout");
  const byId = new Map(level.graph.nodes.map((node) => [node.id, node]));
  return layOutGraph(level.graph, (id) => sizes(byId.get(id)!));
}
