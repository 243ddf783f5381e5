/** Positions for nodes that have none: from left to right along the links, by dagre. */

import { Graph as Dagre, layout } from "@dagrejs/dagre";
import type { Point } from "../document/workflow";
import { type Graph, INPUTS, OUTPUTS } from "../graph/graph";

export type Size = { width: number; height: number };

/** The upper left corner of each node. `sizeOf` tells how large a node is drawn. */
export function layOutGraph(graph: Graph, sizeOf: (id: string) => Size): Record<string, Point> {
  const dagre = new Dagre();
  dagre.setGraph({ rankdir: "LR", nodesep: 30, ranksep: 56 });
  dagre.setDefaultEdgeLabel(() => ({}));
  for (const node of graph.nodes) dagre.setNode(node.id, { ...sizeOf(node.id) });
  for (const link of graph.links) dagre.setEdge(link.from, link.to);
  if (graph.links.length === 0) dagre.setEdge(INPUTS, OUTPUTS); // an empty level has its ends side by side
  layout(dagre);
  return Object.fromEntries(
    graph.nodes.map((node) => {
      const { x, y, width, height } = dagre.node(node.id) as { x: number; y: number; width: number; height: number };
      return [node.id, [Math.round(x - width / 2), Math.round(y - height / 2)] as Point];
    }),
  );
}
