import { useMemo } from "react";
import { type Graph, type GraphNode, INPUTS, OUTPUTS, type Port } from "../graph/graph";
import { type Level, useLevel } from "../state/level";

/**
 * The level as the canvas draws it: outputs have the type of what is linked to them, and the inputs of a file that
 * another one calls are no fields, as the caller gives their values.
 */
export function useShownLevel(): Level | null {
  const level = useLevel();
  return useMemo(() => level && { ...level, graph: drawnGraph(level.graph, level.crumb.via.length > 0) }, [level]);
}

function drawnGraph(graph: Graph, called: boolean): Graph {
  const nodes = graph.nodes.map((node) => {
    if (node.id === INPUTS && called) return { ...node, outputs: node.outputs.map((port) => ({ ...port, literal: false })) };
    return node.id === OUTPUTS ? { ...node, inputs: node.inputs.map((port) => typed(port, graph)) } : node;
  });
  return { ...graph, nodes };
}

function typed(port: Port, graph: Graph): Port {
  const link = port.type === "any" ? graph.links.find((one) => one.to === OUTPUTS && one.input === port.id) : undefined;
  const source = link && graph.nodes.find((node: GraphNode) => node.id === link.from)?.outputs.find((one) => one.id === link.output);
  return source ? { ...port, type: source.type } : port;
}
