/** How large a node is drawn and where its sockets are, before the browser measured it. */

import { type NodeHandle, Position } from "@xyflow/react";
import { type GraphNode, INPUTS, OUTPUTS, type Port } from "../graph/graph";
import { type Row, rowsOf } from "./rows";
import type { Size } from "./layout";

const HEAD = 44;
const ROW = 24;
const FIELD = 31;
const PATH = 60;
const TEXT = 74;
const NOTE = 40;
const GONE = 90;
const FOOT = 8;

export function widthOf(node: GraphNode): number {
  if (node.id === INPUTS) return node.outputs.some((port) => port.literal) ? 276 : 188;
  return node.id === OUTPUTS ? 186 : 224;
}

/** Paths and values of any type stand below their name; texts and lists over several lines. */
function fieldHeight(port: Port): number {
  const { type, format, enum: choices } = port.schema ?? {};
  if (type === undefined || type === "array" || (type === "string" && format === undefined && choices === undefined)) return TEXT;
  return format === "path" ? PATH : FIELD;
}

export function rowHeight(row: Row): number {
  return row.field ? fieldHeight((row.input ?? row.output)!) : ROW;
}

export function sizeOf(node: GraphNode, unfolded: boolean, collapsed: boolean): Size {
  const width = widthOf(node);
  if (collapsed) return { width, height: HEAD };
  const { rows, hidden } = rowsOf(node, unfolded);
  const height = rows.reduce((sum, row) => sum + rowHeight(row), HEAD + FOOT);
  const extra = (hidden > 0 ? ROW : 0) + (node.entry?.note ? NOTE : 0) + (node.kind === "missing" ? GONE : 0);
  return { width, height: height + extra };
}

/** Sockets with their places, so that links can be drawn to nodes that were never in view. */
export function socketsOf(node: GraphNode, unfolded: boolean, collapsed: boolean): NodeHandle[] {
  const width = widthOf(node);
  let top = HEAD;
  return rowsOf(node, unfolded).rows.flatMap((row) => {
    const y = collapsed ? HEAD / 2 : top + Math.min(rowHeight(row), FIELD) / 2;
    top += rowHeight(row);
    const made: NodeHandle[] = [];
    if (row.input) made.push({ id: row.input.id, type: "target", position: Position.Left, x: 0, y });
    if (row.output) made.push({ id: row.output.id, type: "source", position: Position.Right, x: width, y });
    return made;
  });
}
