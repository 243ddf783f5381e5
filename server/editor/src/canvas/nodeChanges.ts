/**
 * The nodes as they are drawn while somebody drags or selects: React Flow tells each change, the document hears of it
 * once, at the end.
 */

import { type NodeChange, type NodePositionChange, applyNodeChanges } from "@xyflow/react";
import { useCallback, useLayoutEffect, useRef, useState } from "react";
import { same } from "../document/edit";
import type { Point } from "../document/workflow";
import { useStore } from "../state/store";
import type { Level } from "../state/level";
import { boxesOf, moveTo } from "./actions";
import { type FlowNode, type Look, flowNodes, named } from "./flow";

type Carried = { frame: string; ids: ReadonlySet<string> };

export function useFlowNodes(level: Level, look: Look): [FlowNode[], (changes: NodeChange<FlowNode>[]) => void] {
  const { positions, check, unfolded, selection } = look;
  const [nodes, setNodes] = useState<FlowNode[]>(() => flowNodes(level, look, []));
  const now = useRef(nodes);
  const carried = useRef<Carried[]>([]);
  const dragged = useRef(false);
  useLayoutEffect(() => {
    const made = flowNodes(level, { positions, check, unfolded, selection }, now.current);
    const still = made.length === now.current.length && made.every((node, at) => node === now.current[at]);
    if (!still) setNodes((now.current = made));
  }, [level, positions, check, unfolded, selection]);

  const hear = useCallback((changes: NodeChange<FlowNode>[]) => {
    const before = now.current;
    const moves = changes.filter((one): one is NodePositionChange => one.type === "position" && one.position !== undefined);
    if (moves.length > 0 && carried.current.length === 0) carried.current = framesOf(moves, before);
    now.current = measured(changes, withCarried(moves, carried.current, before, applyNodeChanges(changes, before)));
    setNodes(now.current);
    if (changes.some((one) => one.type === "select")) choose(now.current);
    if (moves.some((one) => one.dragging)) dragged.current = true;
    else if (moves.length > 0) {
      commit(moves, carried.current, now.current, dragged.current ? undefined : "arrows");
      carried.current = [];
      dragged.current = false;
    }
  }, []);
  return [nodes, hear];
}

/** What a frame that begins to move takes along: all that has its middle within it. */
function framesOf(moves: readonly NodePositionChange[], nodes: readonly FlowNode[]): Carried[] {
  const boxes = boxesOf(nodes);
  const moving = new Set(moves.map((one) => one.id));
  return moves.flatMap(({ id }) => {
    const frame = boxes.find((box) => box.id === id);
    if (named(id).kind !== "frames" || frame === undefined) return [];
    const within = (x: number, y: number) => x > frame.x && x < frame.x + frame.width && y > frame.y && y < frame.y + frame.height;
    const inside = boxes.filter((box) => !moving.has(box.id) && within(box.x + box.width / 2, box.y + box.height / 2));
    return [{ frame: id, ids: new Set(inside.map((box) => box.id)) }];
  });
}

function withCarried(moves: readonly NodePositionChange[], carried: readonly Carried[], before: readonly FlowNode[], after: FlowNode[]): FlowNode[] {
  let nodes = after;
  for (const { frame, ids } of carried) {
    const old = before.find((node) => node.id === frame)?.position;
    const place = moves.find((one) => one.id === frame)?.position;
    if (old === undefined || place === undefined) continue;
    const shifted = (node: FlowNode) => ({ x: node.position.x + place.x - old.x, y: node.position.y + place.y - old.y });
    nodes = nodes.map((node) => (ids.has(node.id) ? ({ ...node, position: shifted(node) } as FlowNode) : node));
  }
  return nodes;
}

/** Once the browser measured a node, its sockets are where the browser says. */
function measured(changes: readonly NodeChange<FlowNode>[], nodes: FlowNode[]): FlowNode[] {
  const ids = new Set(changes.flatMap((one) => (one.type === "dimensions" ? [one.id] : [])));
  if (ids.size === 0) return nodes;
  return nodes.map((node) => {
    if (!ids.has(node.id) || node.handles === undefined) return node;
    const { handles: _, ...rest } = node;
    return rest as FlowNode;
  });
}

function choose(nodes: readonly FlowNode[]): void {
  const { selection, select } = useStore.getState();
  const chosen = nodes.filter((node) => node.selected).map((node) => node.id);
  if (!same(chosen, [...selection])) select(chosen);
}

function commit(moves: readonly NodePositionChange[], carried: readonly Carried[], nodes: readonly FlowNode[], group?: string): void {
  const moved = new Set([...moves.map((one) => one.id), ...carried.flatMap((one) => [...one.ids])]);
  const places = nodes.filter((node) => moved.has(node.id)).map((node): [string, Point] => [node.id, [node.position.x, node.position.y]]);
  moveTo(new Map(places), places.length === 1 ? "Move" : `Move ${places.length} nodes`, group);
}
