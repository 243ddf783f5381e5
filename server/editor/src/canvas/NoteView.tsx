import { type NodeProps, NodeResizer } from "@xyflow/react";
import { memo, useState } from "react";
import type { Point } from "../document/workflow";
import { putNote, rounded } from "./actions";
import type { NoteFlowNode } from "./flow";

/** A note on the canvas. */
export const NoteView = memo(function NoteView({ data: { name, note }, selected }: NodeProps<NoteFlowNode>) {
  const [typed, setTyped] = useState<string | null>(null);
  const leave = () => {
    if (typed !== null && typed !== note.text) putNote(name, { ...note, text: typed }, "Write a note");
    setTyped(null);
  };
  return (
    <div className={selected ? "note selected" : "note"}>
      <NodeResizer
        isVisible={selected} minWidth={120} minHeight={60} handleClassName="resize-handle" lineClassName="resize-line"
        onResizeEnd={(_, box) => putNote(name, { ...note, at: at(box), size: size(box) }, "Resize a note")}
      />
      <textarea
        className="nodrag nowheel" aria-label="Note" placeholder="A note…" value={typed ?? note.text}
        onChange={(event) => setTyped(event.target.value)} onBlur={leave}
      />
    </div>
  ); // prettier-ignore
});

type Box = { x: number; y: number; width: number; height: number };
export const at = (box: Box): Point => rounded([box.x, box.y]);
export const size = (box: Box): Point => rounded([box.width, box.height]);
