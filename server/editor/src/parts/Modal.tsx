import { type ReactNode, type SyntheticEvent, useEffect, useId, useRef } from "react";
import { useStore } from "../state/store";
import "./Modal.css";

type Given = { title: string; wide?: boolean; mayClose?: () => boolean; children: ReactNode };

/** A dialog over the page: keeps the focus within. Escape closes it, unless `mayClose` says that work would be lost. */
export function Modal({ title, wide, mayClose = () => true, children }: Given) {
  const close = useStore((state) => state.closeDialog);
  const element = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const dialog = element.current;
    if (dialog && !dialog.open) dialog.showModal();
  }, []);
  const ask = (event: SyntheticEvent) => {
    event.preventDefault(); // browsers let a page refuse just once that its dialog closes
    if (mayClose()) element.current?.close();
  };
  return (
    <dialog
      ref={element}
      className={wide ? "modal wide" : "modal"}
      aria-labelledby={heading}
      onClose={close}
      onCancel={(event) => event.target === element.current && ask(event)}
      onKeyDown={(event) => event.key === "Escape" && !event.defaultPrevented && ask(event)}
    >
      <div className="modal-head">
        <h2 id={heading}>{title}</h2>
        <button className="plain icon" aria-label="Close" onClick={ask}>
          ×
        </button>
      </div>
      <div className="modal-body">{children}</div>
    </dialog>
  );
}
