import { type KeyboardEvent, useEffect, useId, useRef, useState } from "react";
import { type Command, perform } from "../state/command";
import { useStore } from "../state/store";

/** A button with a menu of commands below it; a null draws a line. */
export function Menu({ title, commands }: { title: string; commands: readonly (Command | null)[] }) {
  const [open, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const menu = useRef<HTMLDivElement>(null);
  const id = useId();
  const state = useStore();
  const close = (back: boolean) => {
    setOpen(false);
    if (back) button.current?.focus();
  };
  useEffect(() => {
    if (!open) return;
    items(menu.current)[0]?.focus();
    const outside = (event: Event) => {
      const target = event.target as Node;
      if (!menu.current?.contains(target) && !button.current?.contains(target)) setOpen(false);
    };
    window.addEventListener("pointerdown", outside, true);
    return () => window.removeEventListener("pointerdown", outside, true);
  }, [open]);
  const hear = (event: KeyboardEvent) => {
    if (event.key === "Escape" || event.key === "Tab") close(true);
    else if (!move(items(menu.current), event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  const choose = (command: Command) => {
    close(true);
    void perform(command);
  };
  return (
    <div className="menu-place">
      <button
        ref={button}
        className="plain"
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        onClick={() => setOpen(!open)}
        onKeyDown={(event) => event.key === "ArrowDown" && (event.preventDefault(), setOpen(true))}
      >
        {title} <span aria-hidden="true">▾</span>
      </button>
      {open && (
        <div ref={menu} id={id} role="menu" aria-label={title} className="menu" onKeyDown={hear}>
          {commands.map((command, at) =>
            command === null ? (
              <hr key={at} />
            ) : (
              <button
                key={command.id}
                role="menuitem"
                tabIndex={-1}
                className="plain"
                aria-disabled={command.enabled?.(state) === false}
                onClick={() => command.enabled?.(state) !== false && choose(command)}
              >
                <span>{command.title}</span>
                {command.keys?.[0] && <kbd>{command.keys[0]}</kbd>}
              </button>
            ),
          )}
        </div>
      )}
    </div>
  );
}

function items(menu: HTMLElement | null): HTMLElement[] {
  return [...(menu?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
}

/** Moves the focus among the items of a menu, by arrows, ends and first letters; whether the key did that. */
function move(all: readonly HTMLElement[], key: string): boolean {
  const at = all.indexOf(document.activeElement as HTMLElement);
  const after = [...all.slice(at + 1), ...all.slice(0, at + 1)];
  const found: Record<string, HTMLElement | undefined> = {
    ArrowDown: after[0], ArrowUp: after.at(-2), Home: all[0], End: all.at(-1),
  }; // prettier-ignore
  const letter = key.length === 1 && key !== " " ? after.find((item) => item.textContent?.toLowerCase().startsWith(key.toLowerCase())) : undefined;
  const next = found[key] ?? letter;
  next?.focus();
  return next !== undefined;
}
