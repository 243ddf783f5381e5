import { type ConnectionLineComponentProps, getBezierPath } from "@xyflow/react";
import { mayFit } from "../graph/types";
import { typeColor } from "../parts/typeColor";
import { useCanvas } from "./canvasState";
import type { FlowNode } from "./flow";

/** The link that is being drawn: in its colour, and dashed over a socket that it cannot go to. */
export function ConnectionLine({ fromX, fromY, toX, toY, fromPosition, toPosition, toHandle, toNode }: ConnectionLineComponentProps<FlowNode>) {
  const drawn = useCanvas((state) => state.drawn);
  const [path] = getBezierPath({ sourceX: fromX, sourceY: fromY, targetX: toX, targetY: toY, sourcePosition: fromPosition, targetPosition: toPosition });
  const data = toNode?.internals.userNode.data;
  const node = data && "node" in data ? data.node : undefined;
  const port = [...(node?.inputs ?? []), ...(node?.outputs ?? [])].find((one) => one.id === toHandle?.id);
  const fits = drawn === null || port === undefined || (drawn.side === "output" ? mayFit(drawn.type, port.type) : mayFit(port.type, drawn.type));
  return (
    <path d={path} fill="none" stroke={fits ? typeColor(drawn?.type ?? "any") : "var(--bad)"} strokeWidth={2.5} strokeDasharray={fits ? undefined : "5 5"} />
  );
}
