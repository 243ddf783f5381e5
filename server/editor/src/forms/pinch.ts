/** Two fingers on a sheet that scrolls: they move it, and zoom it. */

import { type RefObject, type TouchEvent, useRef } from "react";

type Grip = { distance: number; x: number; y: number };

/** What two fingers do: `begin` once for each pair, then `zoom` by factors. The handlers are for the frame of the sheet. */
export function usePinch(frame: RefObject<HTMLElement | null>, { begin, zoom }: { begin(): void; zoom(by: number): void }) {
  const grip = useRef<Grip | null>(null);
  const used = useRef(false);
  return {
    onTouchStart: ({ touches }: TouchEvent) => {
      if (touches.length === 1) used.current = false;
      grip.current = gripOf(touches);
      if (grip.current === null || used.current) return;
      used.current = true;
      begin();
    },
    onTouchMove: ({ touches }: TouchEvent) => {
      const [before, now] = [grip.current, gripOf(touches)];
      if (before === null || now === null) return;
      frame.current?.scrollBy(before.x - now.x, before.y - now.y);
      zoom(now.distance / before.distance);
      grip.current = now;
    },
    onTouchEnd: ({ touches }: TouchEvent) => {
      grip.current = gripOf(touches);
    },
  };
}

/** Where two fingers are; null for any other number of them. */
function gripOf(touches: TouchEvent["touches"]): Grip | null {
  if (touches.length !== 2) return null;
  const [one, other] = [touches[0]!, touches[1]!];
  return {
    distance: Math.max(1, Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY)),
    x: (one.clientX + other.clientX) / 2,
    y: (one.clientY + other.clientY) / 2,
  };
}
