import { useEffect, useRef, useState } from "react";
import type { Pair } from "./CompareDialog";
import { type PixelDifference, TIMES, differenceOf } from "./difference";
import { pictureOf } from "./useProvenance";

type Shown = PixelDifference & { width: number; height: number; scaled: boolean };

/** Where and how much two pictures differ; black is equal. */
export function DifferenceView({ pair }: { pair: Pair }) {
  const [a, b] = pair;
  const [shown, setShown] = useState<Shown | null>(null);
  const [problem, setProblem] = useState("");
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    let left = false;
    const put = (made: Shown) => {
      if (left) return;
      paint(canvas.current!, made);
      setShown(made);
    };
    compute(a.file, b.file).then(put, (wrong: Error) => !left && setProblem(wrong.message));
    return () => {
      left = true;
    };
  }, [a.file, b.file]);
  if (problem) return <p className="bad">{problem}</p>;
  return (
    <div className="column">
      <canvas ref={canvas} className="run-difference" role="img" aria-label={shown ? words(shown) : "The difference"} />
      <p className="quiet" role="status">
        {shown ? words(shown) : "One moment…"}
      </p>
    </div>
  );
}

function words({ mean, largest, differing, scaled }: Shown): string {
  if (largest === 0) return scaled ? "No difference, but for the size." : "The pictures are equal, pixel by pixel.";
  const percent = (share: number) => `${(100 * share).toFixed(share < 0.1 ? 2 : 1)} %`;
  const size = scaled ? " The pictures differ in size; B was drawn in that of A." : "";
  const how = `by ${percent(mean)} in the mean of all and ${percent(largest)} at most`;
  return `${percent(differing)} of the pixels differ, ${how}. Drawn ${TIMES} times as strong.${size}`;
}

async function compute(a: string, b: string): Promise<Shown> {
  const [one, other] = await Promise.all([pictureOf(a).then(createImageBitmap), pictureOf(b).then(createImageBitmap)]);
  const { width, height } = one;
  const scaled = other.width !== width || other.height !== height;
  return { ...differenceOf(pixelsOf(one, width, height), pixelsOf(other, width, height)), width, height, scaled };
}

function pixelsOf(picture: ImageBitmap, width: number, height: number): Uint8ClampedArray {
  const context = new OffscreenCanvas(width, height).getContext("2d")!;
  context.drawImage(picture, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

function paint(canvas: HTMLCanvasElement, { pixels, width, height }: Shown): void {
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d")!.putImageData(new ImageData(pixels, width, height), 0, 0);
}
