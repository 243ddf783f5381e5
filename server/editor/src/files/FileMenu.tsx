import { Suspense, useEffect, useId, useRef, useState } from "react";
import { lazily } from "../parts/lazily";
import type { MenuItem } from "../parts/Menu";
import { type Command, perform } from "../state/command";
import { useStore } from "../state/store";
import { fileMenu } from "./commands";

const Menu = lazily(async () => ({ default: (await import("../parts/Menu")).Menu }));

/** The menu of files, below its button. */
export function FileMenu() {
  const [open, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const place = useRef<HTMLDivElement>(null);
  const id = useId();
  useEffect(() => {
    const outside = (event: Event) => place.current?.contains(event.target as Node) || setOpen(false);
    if (open) window.addEventListener("pointerdown", outside, true);
    return () => window.removeEventListener("pointerdown", outside, true);
  }, [open]);
  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  return (
    <div ref={place} className="menu-place">
      <button
        ref={button}
        className="plain"
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        onClick={() => setOpen(!open)}
        onKeyDown={(event) => event.key === "ArrowDown" && (event.preventDefault(), setOpen(true))}
      >
        File <span aria-hidden="true">▾</span>
      </button>
      <Suspense fallback={null}>
        {open && <Menu id={id} label="File" groups={fileMenu.map((group) => group.map(itemOf))} onClose={close} />}
      </Suspense>
    </div>
  );
}

function itemOf(command: Command): MenuItem {
  const disabled = command.enabled?.(useStore.getState()) === false;
  return { title: command.title, keys: command.keys?.[0], disabled, run: () => void perform(command) };
}
