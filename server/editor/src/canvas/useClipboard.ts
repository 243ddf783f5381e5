import { useEffect } from "react";
import { isPiece } from "../graph/clipboard";
import { useStore } from "../state/store";
import { copied, pasted, removeSelected, selectedNames } from "./actions";
import { middle } from "./adding";
import { canvas } from "./canvasState";

/** Whether copying and pasting is about nodes: no field has the focus, no text is selected, no dialog is open. */
function aboutNodes(): boolean {
  const focused = document.activeElement;
  if (document.querySelector("dialog[open], .popover") || canvas.get().level === null) return false;
  const inField = focused instanceof HTMLElement && (focused.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(focused.tagName));
  return !inField && (getSelection()?.isCollapsed ?? true);
}

function copy(event: ClipboardEvent): void {
  const text = aboutNodes() && selectedNames().length > 0 ? copied() : null;
  if (text === null) return;
  event.preventDefault();
  event.clipboardData?.setData("text/plain", text);
  if (event.type === "cut") removeSelected();
}

let pointer: [number, number] | null = null;

/** Text that holds no nodes is left to others, such as files that are pasted. */
function paste(event: ClipboardEvent): void {
  const text = event.clipboardData?.getData("text/plain") ?? "";
  if (!aboutNodes() || !isPiece(text)) return;
  event.preventDefault();
  const at = pointer && canvas.get().flow?.screenToFlowPosition({ x: pointer[0], y: pointer[1] });
  try {
    pasted(text, at ? [at.x, at.y] : middle());
  } catch (problem) {
    useStore.getState().say("error", (problem as Error).message);
  }
}

/** Nodes are pasted where the pointer is, while it is over the canvas. */
function follow(event: PointerEvent): void {
  const over = event.target instanceof Element && event.target.closest(".canvas") !== null;
  pointer = over ? [event.clientX, event.clientY] : null;
}

/** Copies, cuts and pastes nodes by the browser's own events, which need no permission. */
export function useClipboard(): void {
  useEffect(() => {
    const listeners = [["copy", copy], ["cut", copy], ["paste", paste], ["pointermove", follow]] as const; // prettier-ignore
    for (const [name, listener] of listeners) window.addEventListener(name, listener as EventListener);
    return () => {
      for (const [name, listener] of listeners) window.removeEventListener(name, listener as EventListener);
    };
  }, []);
}
