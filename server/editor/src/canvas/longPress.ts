/** A finger that rests on the canvas opens the menu there: browsers of tablets have no right button, and some tell none. */

import { useEffect } from "react";

const RESTS_MILLISECONDS = 550;
/** A finger trembles; further than this it moves. */
const TREMBLES = 10;

/** Listens on the canvas for as long as the component is there. */
export function useLongPress(): void {
  useEffect(() => {
    const element = document.querySelector<HTMLElement>(".canvas");
    if (element === null) return;
    const resting = new Resting();
    const left = new AbortController();
    const early = { capture: true, passive: true, signal: left.signal }; // who drags nodes keeps the touches to himself
    element.addEventListener("touchstart", resting.begin, early);
    element.addEventListener("touchmove", resting.move, early);
    for (const end of ["touchend", "touchcancel", "contextmenu"]) element.addEventListener(end, resting.end, early);
    return () => {
      resting.end();
      left.abort();
    };
  }, []);
}

/**
 * Responsibilities: tell when one finger rested long enough, as the `contextmenu` event of a right button. Where the
 * browser tells it by itself, that one counts.
 */
class Resting {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private from: Touch | null = null;

  readonly begin = ({ touches }: TouchEvent) => {
    this.end();
    const [finger, ...more] = touches;
    if (finger === undefined || more.length > 0) return;
    this.from = finger;
    this.timer = setTimeout(() => this.tell(finger), RESTS_MILLISECONDS);
  };

  readonly move = ({ touches: [finger] }: TouchEvent) => {
    if (this.from === null || finger === undefined) return;
    if (Math.hypot(finger.clientX - this.from.clientX, finger.clientY - this.from.clientY) > TREMBLES) this.end();
  };

  readonly end = () => {
    clearTimeout(this.timer);
    this.from = null;
  };

  private tell({ target, clientX, clientY }: Touch): void {
    const found = document.elementFromPoint(clientX, clientY) ?? target;
    found.dispatchEvent(new MouseEvent("contextmenu", { bubbles: true, cancelable: true, clientX, clientY }));
  }
}
