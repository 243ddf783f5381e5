/** A socket: where links begin and end. Its colour is its type; a square one takes or gives a list. */

import { Handle, Position } from "@xyflow/react";
import { type CSSProperties, memo } from "react";
import type { GraphNode, Port } from "../graph/graph";
import { mayFit, plain } from "../graph/types";
import { isList, typeColor } from "../parts/typeColor";
import { type LinkEnd, useCanvas } from "./canvasState";
import { isLinked, isMissing } from "./rows";

export type SocketProps = { node: GraphNode; port: Port; side: "input" | "output"; top?: number };

export const Socket = memo(function Socket({ node, port, side, top }: SocketProps) {
  const refused = useCanvas((state) => state.drawn !== null && !fits(state.drawn, node.id, port, side));
  const { className, ...look } = lookOf(port, side, top);
  return (
    <Handle
      type={side === "input" ? "target" : "source"}
      position={side === "input" ? Position.Left : Position.Right}
      id={port.id}
      className={refused ? `${className} refused` : className}
      title={`${port.name}: ${port.type}${port.help ? `\n${port.help}` : ""}`}
      {...look}
    />
  );
});

/** A socket that is only looked at: links are drawn to it, but it hears nothing, which is cheaper by the hundreds. */
export function StillSocket({ port, side, top }: SocketProps) {
  const { className, ...look } = lookOf(port, side, top);
  const [type, position] = side === "input" ? ["target", Position.Left] : ["source", Position.Right];
  const classes = `react-flow__handle react-flow__handle-${position} ${type} still ${className}`;
  return <span className={classes} data-handleid={port.id} data-handlepos={position} {...look} />;
}

function lookOf(port: Port, side: "input" | "output", top: number | undefined) {
  const input = side === "input";
  const missing = input && isMissing(port);
  const classes = ["socket", isList(port.type) && "list", missing && "missing", (!input || isLinked(port)) && "full"];
  return {
    className: classes.filter(Boolean).join(" "),
    style: { "--type": typeColor(port.type), ...(top !== undefined && { top }) } as CSSProperties,
    role: "img",
    "aria-label": `${side} ${port.name}: ${plain(port.type)}${missing ? ", missing" : ""}`,
  };
}

/** Whether the link that is being drawn may end at a socket. */
export function fits(drawn: LinkEnd, node: string, port: Port, side: "input" | "output"): boolean {
  if (drawn.node === node) return drawn.port === port.id && drawn.side === side;
  if (drawn.side === side) return false;
  return drawn.side === "output" ? mayFit(drawn.type, port.type) : mayFit(port.type, drawn.type);
}
