/** Aligning, distributing and laying out. */

import type { Point } from "../document/workflow";
import { type Box, boxesOf, moveTo, selectedBoxes } from "./actions";
import { canvas, shownLevel, tell } from "./canvasState";
import { layOutLevel } from "./placement";
import { sizeOf } from "./size";
import { fit } from "./view";

export type Alignment = "left" | "right" | "top" | "bottom";

export function align(side: Alignment): void {
  const boxes = selectedBoxes();
  const x = side === "left" ? Math.min(...boxes.map((box) => box.x)) : Math.max(...boxes.map((box) => box.x + box.width));
  const y = side === "top" ? Math.min(...boxes.map((box) => box.y)) : Math.max(...boxes.map((box) => box.y + box.height));
  const placed = (box: Box): Point => {
    if (side === "left" || side === "right") return [side === "left" ? x : x - box.width, box.y];
    return [box.x, side === "top" ? y : y - box.height];
  };
  moveTo(new Map(boxes.map((box) => [box.id, placed(box)])), `Align ${side}`);
}

/** The same gap between all, from the first to the last. */
export function distribute(along: "x" | "y"): void {
  const size = along === "x" ? "width" : "height";
  const boxes = selectedBoxes().sort((a, b) => a[along] - b[along]);
  const first = boxes[0];
  const last = boxes.at(-1);
  if (first === undefined || last === undefined) return;
  const filled = boxes.reduce((sum, box) => sum + box[size], 0);
  const gap = (last[along] + last[size] - first[along] - filled) / (boxes.length - 1);
  let at = first[along];
  const places = boxes.map((box): [string, Point] => {
    const place: Point = along === "x" ? [at, box.y] : [box.x, at];
    at += box[size] + gap;
    return [box.id, place];
  });
  moveTo(new Map(places), "Distribute");
}

/** Lays the whole level out by its links, with the sizes that the browser measured. */
export async function layOutAll(): Promise<void> {
  const level = shownLevel();
  const measured = new Map(boxesOf(canvas.get().flow?.getNodes() ?? []).map((box) => [box.id, box]));
  const positions = await layOutLevel(level, (node) => measured.get(node.id) ?? sizeOf(node, false, false));
  moveTo(new Map(Object.entries(positions)), "Lay out");
  tell("Laid out");
  requestAnimationFrame(() => fit());
}
