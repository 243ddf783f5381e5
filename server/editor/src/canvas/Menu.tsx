import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import { canvas, useCanvas } from "./canvasState";
import { type MenuItem, menuGroups } from "./menuItems";
import { Popover } from "./Popover";
import "./palette.css";

const close = () => canvas.set({ menu: null });

/** The menu of a node, a link or the canvas. */
export function Menu() {
  const request = useCanvas((state) => state.menu);
  return request && <OpenMenu key={request.at.join()} />;
}

function OpenMenu() {
  const [request] = useState(() => canvas.get().menu!);
  const [groups] = useState(() => menuGroups(request));
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => list.current?.querySelector<HTMLElement>('[role="menuitem"]')?.focus(), []);
  const hear = (event: KeyboardEvent) => {
    const items = [...list.current!.querySelectorAll<HTMLElement>('[role="menuitem"]')];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const to: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1 + items.length, Home: 0, End: items.length - 1 };
    const place = to[event.key] ?? lettered(items, at, event.key);
    if (place !== undefined) items[place % items.length]?.focus();
    else if (event.key === "Escape" || event.key === "Tab") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <Popover at={request.at} label="Menu" className="canvas-menu" onClose={close}>
      <div role="menu" aria-label="Menu" ref={list} onKeyDown={hear}>
        {groups.map((group, at) => (
          <div role="group" key={at} className="menu-group">
            {group.map((item) => (
              <Item key={item.title} item={item} />
            ))}
          </div>
        ))}
      </div>
    </Popover>
  );
}

/** The next item that begins with a letter. */
function lettered(items: readonly HTMLElement[], at: number, key: string): number | undefined {
  if (key.length !== 1 || key === " ") return undefined;
  const order = items.map((_, step) => (at + 1 + step) % items.length);
  return order.find((place) => items[place]!.textContent?.toLowerCase().startsWith(key.toLowerCase()));
}

function Item({ item }: { item: MenuItem }) {
  const choose = () => {
    close();
    // What had the focus before gets it back first, as some commands ask where it is.
    requestAnimationFrame(item.run);
  };
  return (
    <button role="menuitem" className="plain menu-item" tabIndex={-1} onClick={choose}>
      <span className="grow">{item.title}</span>
      {item.keys && <kbd>{item.keys}</kbd>}
    </button>
  );
}
