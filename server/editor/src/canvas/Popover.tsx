import { type ReactNode, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { Point } from "../document/workflow";

const EDGE = 8;

/**
 * A box over the page, at a place of the screen or in the upper middle. It closes when the pointer goes down elsewhere
 * or the focus leaves it, and gives the focus back to who had it.
 */
export function Popover({ at, label, className, onClose, children }: {
  at: Point | null; label: string; className: string; onClose(): void; children: ReactNode;
}) { // prettier-ignore
  const box = useRef<HTMLDivElement>(null);
  const [place, setPlace] = useState<Point | null>(null);
  // Who had the focus: asked before anything in the box takes it.
  const [before] = useState(() => document.activeElement);
  useLayoutEffect(() => {
    const { width, height } = box.current!.getBoundingClientRect();
    const [x, y] = at ?? [(window.innerWidth - width) / 2, window.innerHeight * 0.12];
    setPlace([clamp(x, window.innerWidth - width - EDGE), clamp(y, window.innerHeight - height - EDGE)]);
  }, [at]);
  useEffect(() => {
    const outside = (event: PointerEvent) => box.current?.contains(event.target as Node) || onClose();
    window.addEventListener("pointerdown", outside, true);
    return () => {
      window.removeEventListener("pointerdown", outside, true);
      const lost = document.activeElement === document.body || document.activeElement === null;
      if (lost && before instanceof HTMLElement) before.focus({ preventScroll: true });
    };
  }, [onClose, before]);
  const style = place ? { left: place[0], top: place[1] } : { left: 0, top: 0, opacity: 0 };
  return (
    <div ref={box} className={`popover ${className}`} role="dialog" aria-label={label} style={style}>
      {children}
    </div>
  );
}

function clamp(value: number, most: number): number {
  return Math.max(EDGE, Math.min(value, most));
}
