/** Pictures and masks between the server, the page and files. */

import { api } from "../api/client";
import type { Json } from "../document/syntax";
import { type Area, type Mask, type Size, brightness } from "./mask";
import { fileId } from "./stored";

/** The address of a picture that a value names; null for what names none. */
export function pictureUrl(value: Json | undefined): string | null {
  const id = fileId(value);
  if (id !== null) return api.fileUrl(id);
  return typeof value === "string" && value !== "" ? api.pictureUrl(value) : null;
}

/** The picture that a value names; null where there is none, or none that browsers show. */
export async function loadPicture(value: Json | undefined): Promise<HTMLImageElement | null> {
  const url = pictureUrl(value);
  if (url === null) return null;
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
    return image;
  } catch {
    return null; // the dialog says so, and goes on with an empty sheet
  }
}

/** The mask that a value names, at the size of its picture. */
export async function loadMask(value: Json | undefined, size: Size): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const image = await loadPicture(value);
  if (image === null) return undefined;
  const context = contextOf(size);
  context.drawImage(image, 0, 0, size.width, size.height);
  return brightness(context.getImageData(0, 0, size.width, size.height).data);
}

function contextOf({ width, height }: Size): CanvasRenderingContext2D {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext("2d")!;
}

/** The mask as a PNG: white is to change, black is kept. */
export async function pngOf(mask: Mask): Promise<Blob> {
  const context = contextOf(mask.size);
  const image = context.createImageData(mask.size.width, mask.size.height);
  mask.pixels.forEach((value, at) => {
    image.data.fill(value, 4 * at, 4 * at + 3);
    image.data[4 * at + 3] = 255;
  });
  context.putImageData(image, 0, 0);
  return new Promise((resolve, reject) => {
    context.canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error("the browser made no PNG of it"))),
      "image/png",
    );
  });
}

/** Two colours in stripes, so that the mask is seen on a picture of any colour. */
const STRIPES = [
  [20, 90, 255],
  [255, 255, 255],
] as const;
const STRONGEST = 0.6;

/** Draws an area of a mask over its picture: striped where the picture is to change. */
export function drawMask(canvas: HTMLCanvasElement, mask: Mask, area: Area): void {
  const [width, height] = [area.right - area.left, area.bottom - area.top];
  if (width <= 0 || height <= 0) return;
  const image = new ImageData(width, height);
  const band = Math.max(2, Math.round(Math.max(mask.size.width, mask.size.height) / 64));
  for (let y = area.top; y < area.bottom; y++) {
    for (let x = area.left; x < area.right; x++) {
      const [red, green, blue] = STRIPES[Math.floor((x + y) / band) % 2]!;
      const at = 4 * ((y - area.top) * width + x - area.left);
      image.data[at] = red;
      image.data[at + 1] = green;
      image.data[at + 2] = blue;
      image.data[at + 3] = mask.pixels[y * mask.size.width + x]! * STRONGEST;
    }
  }
  canvas.getContext("2d")!.putImageData(image, area.left, area.top);
}
