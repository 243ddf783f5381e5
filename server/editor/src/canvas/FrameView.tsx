import { type NodeProps, NodeResizer } from "@xyflow/react";
import { type CSSProperties, memo } from "react";
import { useStore } from "../state/store";
import { putFrame, renameSelected } from "./actions";
import { type FrameFlowNode, frameId } from "./flow";
import { at, size } from "./NoteView";

const COLORS = ["blue", "green", "amber", "red", "violet", "grey"];

/** A frame: its head moves it and all that is in it. */
export const FrameView = memo(function FrameView({ data: { name, frame }, selected }: NodeProps<FrameFlowNode>) {
  const rename = () => {
    useStore.getState().select([frameId(name)]);
    renameSelected();
  };
  const color = COLORS.includes(frame.color ?? "") ? frame.color! : "grey";
  return (
    <div className={selected ? "frame selected" : "frame"} style={{ "--frame": `var(--type-${color})` } as CSSProperties}>
      <NodeResizer
        isVisible={selected} minWidth={160} minHeight={100} handleClassName="resize-handle" lineClassName="resize-line"
        onResizeEnd={(_, box) => putFrame(name, { ...frame, at: at(box), size: size(box) }, "Resize a frame")}
      />
      <div className="frame-head" onDoubleClick={rename} title="Double click: rename">
        <span className="frame-title">{frame.title}</span>
        {selected && (
          <span className="frame-colors nodrag">
            {COLORS.map((one) => (
              <button
                key={one} className="frame-color" aria-label={`Colour ${one}`} aria-pressed={one === color}
                style={{ background: `var(--type-${one})` }} onClick={() => putFrame(name, { ...frame, color: one }, "Colour of a frame")}
              />
            ))}
          </span>
        )}
      </div>
    </div>
  ); // prettier-ignore
});
