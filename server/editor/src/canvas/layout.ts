/** Positions for nodes that have none: from left to right along the links, by dagre. */

import { Graph as Dagre, layout } from "@dagrejs/dagre";
import type { Point } from "../document/workflow";
import { type Graph, INPUTS, type Link, OUTPUTS } from "../graph/graph";

export type Size = { width: number; height: number };

/** Above this number of nodes, no lane is kept free for links that leap over others: lanes take most of the time. */
const MANY = 100;

/** The upper left corner of each node. `sizeOf` tells how large a node is drawn. */
export function layOutGraph(graph: Graph, sizeOf: (id: string) => Size): Record<string, Point> {
  const dagre = new Dagre();
  dagre.setGraph({ rankdir: "LR", nodesep: 30, ranksep: 56 });
  dagre.setDefaultEdgeLabel(() => ({}));
  for (const node of graph.nodes) dagre.setNode(node.id, { ...sizeOf(node.id) });
  const links = graph.nodes.length > MANY ? withoutShortcuts(graph.links) : graph.links;
  for (const link of links) dagre.setEdge(link.from, link.to);
  if (graph.links.length === 0) dagre.setEdge(INPUTS, OUTPUTS); // an empty level has its ends side by side
  layout(dagre);
  return Object.fromEntries(
    graph.nodes.map((node) => {
      const { x, y, width, height } = dagre.node(node.id) as { x: number; y: number; width: number; height: number };
      return [node.id, [Math.round(x - width / 2), Math.round(y - height / 2)] as Point];
    }),
  );
}

/** The links without those between nodes that a longer way joins too: where that way leads on, they do as well. */
export function withoutShortcuts(links: readonly Link[]): Link[] {
  const next = new Map<string, Set<string>>(links.map((link) => [link.from, new Set()]));
  for (const link of links) next.get(link.from)!.add(link.to);
  const known = new Map<string, ReadonlySet<string>>();
  const beyond = (node: string): ReadonlySet<string> => {
    const before = known.get(node);
    if (before !== undefined) return before;
    const found = new Set<string>();
    known.set(node, found); // before it is complete, so that a circle, which is a mistake of the file, comes to an end
    for (const to of next.get(node) ?? []) for (const one of [to, ...beyond(to)]) found.add(one);
    return found;
  };
  return links.filter(({ from, to }) => ![...next.get(from)!].some((other) => other !== to && beyond(other).has(to)));
}
