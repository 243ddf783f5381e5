/** What of a level is in view. */

import { getViewportForBounds } from "@xyflow/react";
import { type Box, boxOf, boxesOf } from "./actions";
import { canvas } from "./canvasState";

export const LEAST_ZOOM = 0.05;
export const MOST_ZOOM = 2.5;

/** Below stand the tool bar and the mini-map. */
const PADDING = { top: "28px", left: "28px", right: "28px", bottom: "108px" } as const;

/** All of a level in view, no larger than drawn. */
export function viewportFor(boxes: readonly Box[], element: HTMLElement) {
  const bounds = boxOf(boxes) ?? { x: 0, y: 0, width: 1, height: 1 };
  return getViewportForBounds(bounds, element.clientWidth, element.clientHeight, LEAST_ZOOM, 1, PADDING);
}

/** Shows the whole level, or some of its nodes; also those that were never in view, which React Flow's own way leaves out. */
export function fit(ids?: readonly string[]): void {
  const { flow } = canvas.get();
  const element = document.querySelector<HTMLElement>(".canvas");
  if (flow === null || element === null) return;
  const boxes = boxesOf(flow.getNodes()).filter((box) => ids?.includes(box.id) ?? true);
  void flow.setViewport(viewportFor(boxes, element), { duration: 150 });
}
