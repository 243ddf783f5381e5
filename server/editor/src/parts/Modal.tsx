import { type ReactNode, useEffect, useId, useRef } from "react";
import { useStore } from "../state/store";
import "./Modal.css";

/** A dialog over the page: keeps the focus within, Escape closes it. */
export function Modal({ title, wide, children }: { title: string; wide?: boolean; children: ReactNode }) {
  const close = useStore((state) => state.closeDialog);
  const element = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const dialog = element.current;
    if (dialog && !dialog.open) dialog.showModal();
  }, []);
  return (
    <dialog ref={element} className={wide ? "modal wide" : "modal"} aria-labelledby={heading} onClose={close}>
      <div className="modal-head">
        <h2 id={heading}>{title}</h2>
        <button className="plain icon" aria-label="Close" onClick={() => element.current?.close()}>
          ×
        </button>
      </div>
      <div className="modal-body">{children}</div>
    </dialog>
  );
}
