import { type ReactNode, type RefObject, useEffect, useLayoutEffect, useRef } from "react";

type Given = {
  anchor: RefObject<HTMLElement | null>;
  id?: string;
  role?: string;
  label?: string;
  onClose(): void;
  children: ReactNode;
};

/**
 * Something that opens beneath an element, above all else on the page: also over the edge of a panel or of a node on
 * the canvas, whatever the zoom. It stays with its element while the canvas moves.
 */
export function Popup({ anchor, id, role, label, onClose, children }: Given) {
  const element = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    let frame = 0;
    const follow = () => {
      if (element.current && anchor.current) place(element.current, anchor.current.getBoundingClientRect());
      frame = requestAnimationFrame(follow);
    };
    element.current?.showPopover();
    follow();
    return () => cancelAnimationFrame(frame);
  }, [anchor]);
  useEffect(() => {
    const outside = (event: Event) => {
      const target = event.target as Node;
      if (!element.current?.contains(target) && !anchor.current?.contains(target)) onClose();
    };
    window.addEventListener("pointerdown", outside, true);
    return () => window.removeEventListener("pointerdown", outside, true);
  }, [anchor, onClose]);
  return (
    <div ref={element} popover="manual" className="field-popup nodrag nowheel" id={id} role={role} aria-label={label}>
      {children}
    </div>
  );
}

/** Beneath the element where there is room, else above it. */
function place(popup: HTMLElement, around: DOMRect): void {
  const room = window.innerHeight - around.bottom - 8;
  const above = room < Math.min(popup.scrollHeight, 200) && around.top > room;
  popup.style.minWidth = `${around.width}px`;
  popup.style.maxHeight = `${Math.min(320, above ? around.top - 8 : room)}px`;
  popup.style.left = `${Math.max(4, Math.min(around.left, window.innerWidth - popup.offsetWidth - 8))}px`;
  popup.style.top = above ? "auto" : `${around.bottom + 2}px`;
  popup.style.bottom = above ? `${window.innerHeight - around.top + 2}px` : "auto";
}
