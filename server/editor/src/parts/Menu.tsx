import { type KeyboardEvent, useEffect, useRef } from "react";
import "./Menu.css";

export type MenuItem = { title: string; keys?: string | undefined; disabled?: boolean; run(): void };
/** Items in groups; a line stands between groups. */
export type MenuGroups = readonly (readonly MenuItem[])[];

/** A menu, with the focus on its first item. Arrows, ends and first letters move it; Escape and Tab close. */
export function Menu({ label, groups, id, onClose }: { label: string; groups: MenuGroups; id?: string; onClose(): void }) {
  const menu = useRef<HTMLDivElement>(null);
  useEffect(() => itemsOf(menu.current)[0]?.focus(), []);
  const hear = (event: KeyboardEvent) => {
    if (event.key === "Escape" || event.key === "Tab") onClose();
    else if (!moved(itemsOf(menu.current), event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div role="menu" id={id} aria-label={label} className="menu" ref={menu} onKeyDown={hear}>
      {groups.map((group, at) => (
        <div role="group" key={at} className="menu-group">
          {group.map((item) => (
            <Item key={item.title} item={item} onClose={onClose} />
          ))}
        </div>
      ))}
    </div>
  );
}

function Item({ item, onClose }: { item: MenuItem; onClose(): void }) {
  const choose = () => {
    if (item.disabled) return;
    onClose();
    // What had the focus before gets it back first, as some commands ask where it is.
    requestAnimationFrame(item.run);
  };
  return (
    <button role="menuitem" className="plain menu-item" tabIndex={-1} aria-disabled={item.disabled} onClick={choose}>
      <span className="grow">{item.title}</span>
      {item.keys && <kbd>{item.keys}</kbd>}
    </button>
  );
}

function itemsOf(menu: HTMLElement | null): HTMLElement[] {
  return [...(menu?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
}

/** Moves the focus among the items of a menu; whether the key was one that does. */
function moved(items: readonly HTMLElement[], key: string): boolean {
  const at = items.indexOf(document.activeElement as HTMLElement);
  const others = [...items.slice(at + 1), ...items.slice(0, Math.max(at, 0))];
  const named: Record<string, HTMLElement | undefined> = {
    ArrowDown: others[0], ArrowUp: others.at(-1), Home: items[0], End: items.at(-1),
  }; // prettier-ignore
  const letter = key.length === 1 && key !== " " ? key.toLowerCase() : null;
  const next = named[key] ?? (letter === null ? undefined : others.find((item) => item.textContent?.toLowerCase().startsWith(letter)));
  next?.focus();
  return next !== undefined || key in named;
}
