import { useState } from "react";
import { Menu as MenuOf } from "../parts/Menu";
import { canvas, useCanvas } from "./canvasState";
import { menuGroups } from "./menuItems";
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
  return (
    <Popover at={request.at} label="Menu" className="canvas-menu" onClose={close}>
      <MenuOf label="Menu" groups={groups} onClose={close} />
    </Popover>
  );
}
