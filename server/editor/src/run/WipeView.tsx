import { type PointerEvent, useRef, useState } from "react";
import { api } from "../api/client";
import type { Pair } from "./CompareDialog";
import { captionOf } from "./PictureCard";

/** Both pictures in one place: A to the left of a line, B to the right of it. */
export function WipeView({ pair }: { pair: Pair }) {
  const [percent, setPercent] = useState(50);
  const place = useRef<HTMLDivElement>(null);
  const follow = (event: PointerEvent) => {
    if (event.buttons === 0 && event.type === "pointermove") return;
    const { left, width } = place.current!.getBoundingClientRect();
    setPercent(Math.min(100, Math.max(0, (100 * (event.clientX - left)) / width)));
  };
  const take = (event: PointerEvent) => {
    event.currentTarget.setPointerCapture(event.pointerId);
    follow(event);
  };
  const [a, b] = pair;
  return (
    <div className="column">
      <div className="run-wipe" ref={place} onPointerDown={take} onPointerMove={follow}>
        <img src={api.fileUrl(a.file)} alt={`A: ${captionOf(a.job)}`} draggable={false} />
        <img
          src={api.fileUrl(b.file)}
          alt={`B: ${captionOf(b.job)}`}
          draggable={false}
          className="run-wipe-over"
          style={{ clipPath: `inset(0 0 0 ${percent}%)` }}
        />
        <span className="run-wipe-line" style={{ left: `${percent}%` }} aria-hidden="true" />
      </div>
      <input
        type="range"
        min={0}
        max={100}
        step={1}
        value={percent}
        aria-label="How much of A is shown, in percent"
        onChange={(event) => setPercent(Number(event.target.value))}
      />
    </div>
  );
}
