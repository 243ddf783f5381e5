/** How two pictures differ, pixel by pixel. */

export const TIMES = 4;

/** Differences are from 0 to 1. */
export type PixelDifference = {
  pixels: Uint8ClampedArray<ArrayBuffer>;
  mean: number;
  largest: number;
  differing: number;
};

/** The absolute differences of two pictures of one size (RGBA), made `TIMES` as large so that small ones are seen. */
export function differenceOf(a: Uint8ClampedArray, b: Uint8ClampedArray): PixelDifference {
  const pixels = new Uint8ClampedArray(a.length);
  let [total, largest, differing] = [0, 0, 0];
  for (let at = 0; at < a.length; at += 4) {
    let most = 0;
    for (let channel = at; channel < at + 3; channel++) {
      const difference = Math.abs(a[channel]! - b[channel]!);
      pixels[channel] = difference * TIMES;
      total += difference;
      most = Math.max(most, difference);
    }
    pixels[at + 3] = 255;
    largest = Math.max(largest, most);
    if (most > 0) differing++;
  }
  const count = a.length / 4;
  return { pixels, mean: total / (3 * count) / 255, largest: largest / 255, differing: differing / count };
}
