import type { TensorNumbers } from "../api/types";

const WIDTH = 320;
const HEIGHT = 64;

/** How often which numbers stand in a tensor. */
export function Histogram({ numbers }: { numbers: TensorNumbers }) {
  const { histogram = [], min = 0, max = 0 } = numbers;
  const most = Math.max(...histogram, 1);
  const width = WIDTH / Math.max(1, histogram.length);
  return (
    <figure style={{ margin: 0 }}>
      <svg className="histogram" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={inWords(numbers)}>
        {histogram.map((count, at) => {
          const height = (count / most) * (HEIGHT - 2);
          return <rect key={at} x={at * width + 0.5} y={HEIGHT - height - 1} width={Math.max(0.5, width - 1)} height={height} />;
        })}
        <line x1={0} x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} />
      </svg>
      <figcaption className="histogram-ends quiet" aria-hidden="true">
        <span>{shortNumber(min)}</span>
        <span>{shortNumber(max)}</span>
      </figcaption>
    </figure>
  );
}

function inWords({ histogram = [], min = 0, max = 0 }: TensorNumbers): string {
  const at = histogram.indexOf(Math.max(...histogram));
  const width = (max - min) / Math.max(1, histogram.length);
  const from = shortNumber(min + at * width);
  return `Histogram from ${shortNumber(min)} to ${shortNumber(max)}; most numbers lie between ${from} and ${shortNumber(min + (at + 1) * width)}.`;
}

export function shortNumber(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e7 ? String(value) : String(Number(value.toPrecision(4)));
}
