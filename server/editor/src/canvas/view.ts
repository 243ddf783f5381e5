/** What of a level is in view. */

import { getViewportForBounds } from "@xyflow/react";
import { type Box, boxOf } from "./actions";
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

/** Shows the whole level, or some of its nodes. */
export function fit(ids?: readonly string[]): void {
  const nodes = ids?.map((id) => ({ id }));
  void canvas.get().flow?.fitView({ padding: PADDING, maxZoom: 1, duration: 150, ...(nodes && { nodes }) });
}
