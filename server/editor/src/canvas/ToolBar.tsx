import { useStore as useFlow } from "@xyflow/react";
import { allCommands, perform } from "../state/command";

const zoomOf = (state: { transform: readonly [number, number, number] }) => Math.round(state.transform[2] * 100);

/** What the pointer needs at hand: adding, zooming, fitting, laying out. */
export function ToolBar() {
  return (
    <div className="tool-bar" role="toolbar" aria-label="Canvas">
      <Tool id="palette">+ Add</Tool>
      <Tool id="zoom-out">−</Tool>
      <Zoom />
      <Tool id="zoom-in">+</Tool>
      <Tool id="fit">Fit</Tool>
      <Tool id="layout">Lay out</Tool>
      <Tool id="undo">↶</Tool>
      <Tool id="redo">↷</Tool>
    </div>
  );
}

function Tool({ id, children }: { id: string; children: string }) {
  const command = allCommands().find((one) => one.id === id);
  if (command === undefined) return null;
  const words = command.keys ? `${command.title} (${command.keys[0]})` : command.title;
  return (
    <button className="plain" aria-label={words} title={words} onClick={() => void perform(command)}>
      {children}
    </button>
  );
}

function Zoom() {
  const zoom = useFlow(zoomOf);
  return <span className="tool-zoom">{zoom}%</span>;
}
