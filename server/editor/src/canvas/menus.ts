/** Opening menus by pointer. */

import type { MouseEvent } from "react";
import type { Port } from "../graph/graph";
import { useStore } from "../state/store";
import { type MenuRequest, canvas } from "./canvasState";

/** Fields have the browser's own menu, for their text. */
function inField(target: EventTarget): boolean {
  return target instanceof Element && target.closest("input, textarea, select") !== null;
}

export function openMenuAt(event: MouseEvent | globalThis.MouseEvent, request: Omit<MenuRequest, "at">): void {
  event.preventDefault();
  const drop = canvas.get().flow?.screenToFlowPosition({ x: event.clientX, y: event.clientY });
  canvas.set({ menu: { ...request, at: [event.clientX, event.clientY] }, menuDrop: drop ? [drop.x, drop.y] : null });
}

export function openNodeMenu(event: MouseEvent, id: string, port?: Port): void {
  if (event.target !== null && inField(event.target)) return;
  const { selection, select } = useStore.getState();
  if (!selection.includes(id)) select([id]);
  openMenuAt(event, { about: "node", ...(port && { port: { node: id, port } }) });
}
