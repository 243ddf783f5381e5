/** Links that are drawn with the pointer: from a socket, or by an end that is taken elsewhere. */

import type { Connection, FinalConnectionState, OnConnectStart } from "@xyflow/react";
import type { Point } from "../document/workflow";
import { disconnect } from "../graph/edits";
import { useStore } from "../state/store";
import { linkToNode } from "./adding";
import { type LinkEnd, canvas, shownLevel } from "./canvasState";
import type { FlowLink } from "./flow";
import { link, portOf, relink } from "./linking";

/** The link of which an end is being taken elsewhere. */
let moving: FlowLink | null = null;

export const beginDrawing: OnConnectStart = (_, { nodeId, handleId, handleType }) => {
  if (nodeId === null || handleId === null) return;
  const side = handleType === "source" ? "output" : "input";
  const port = portOf(shownLevel().graph, nodeId, `${side}s`, handleId);
  canvas.set({ drawn: { node: nodeId, port: handleId, type: port?.type ?? "any", side } });
};

export function beginMoving(_: unknown, edge: FlowLink): void {
  moving = edge;
}

export function drawn(made: Connection): void {
  const ends = endsOf(made);
  if (ends) void told(link(...ends));
}

export function moved(edge: FlowLink, made: Connection): void {
  const ends = endsOf(made);
  const old = shownLevel().graph.links.find((one) => one.id === edge.id);
  if (ends && old) void told(relink(old, ...ends));
}

function endsOf({ source, sourceHandle, target, targetHandle }: Connection): Parameters<typeof link> | null {
  if (!sourceHandle || !targetHandle) return null;
  return [{ node: source, output: sourceHandle }, { node: target, input: targetHandle }]; // prettier-ignore
}

async function told(work: Promise<boolean>): Promise<void> {
  try {
    await work;
  } catch (problem) {
    useStore.getState().say("error", (problem as Error).message);
  }
}

/** A link that is drawn by two clicks, or taps: where it begins, all sockets tell whether it may end there. */
export function endClicking(): void {
  canvas.set({ drawn: null });
}

/** A link that ended on no socket: on a node it goes to what fits there, on the canvas the palette offers what fits. */
export function endDrawing(event: MouseEvent | TouchEvent, state: FinalConnectionState): void {
  const end = canvas.get().drawn;
  canvas.set({ drawn: null });
  if (end === null || moving !== null || state.toHandle !== null) return;
  const at = placeOf(event);
  const below = document.elementFromPoint(...at);
  const id = below?.closest<HTMLElement>(".react-flow__node")?.dataset.id;
  const target = shownLevel().graph.nodes.find((node) => node.id === id);
  if (target && id !== end.node) linkToNode(end, target);
  else if (below?.closest(".react-flow__pane")) offer(end, at);
}

function offer(link: LinkEnd, at: Point): void {
  const { x, y } = canvas.get().flow?.screenToFlowPosition({ x: at[0], y: at[1] }) ?? { x: 0, y: 0 };
  canvas.set({ palette: { at, drop: link.side === "output" ? [x, y - 56] : [x - 236, y - 56], link } });
}

/** A link whose end is dropped on the empty canvas is taken away. */
export function endMoving(event: MouseEvent | TouchEvent, edge: FlowLink, _: unknown, state: FinalConnectionState): void {
  moving = null;
  canvas.set({ drawn: null });
  const onCanvas = document.elementFromPoint(...placeOf(event))?.closest(".react-flow__pane");
  const { graph, crumb, doc } = shownLevel();
  const old = graph.links.find((one) => one.id === edge.id);
  if (state.toHandle !== null || !onCanvas || old === undefined) return;
  useStore.getState().change(disconnect(graph, crumb.body, old.to, old.input, old.item), doc.name);
}

function placeOf(event: MouseEvent | TouchEvent): Point {
  const point = "changedTouches" in event ? event.changedTouches[0] : event;
  return [point?.clientX ?? 0, point?.clientY ?? 0];
}
