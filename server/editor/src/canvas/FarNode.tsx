import { useStoreApi } from "@xyflow/react";
import { useState } from "react";
import { OUTPUTS } from "../graph/graph";
import { runPath } from "../state/documents";
import { nodeRun } from "../state/runs";
import { useStore } from "../state/store";
import { useCanvas } from "./canvasState";
import { type NodeData, domId } from "./flow";
import { Result } from "./Result";
import { Socket, StillSocket } from "./Socket";
import { sizeOf, socketsOf } from "./size";

/** A node from afar: its title in large letters, its sockets where they are from near, and of the outputs the pictures. */
export function FarNode({ data }: { data: NodeData }) {
  const { node, collapsed, unfolded, crumb } = data;
  const internal = useStoreApi().getState().nodeLookup.get(node.id);
  const state = useStore((store) => nodeRun(store, runPath(crumb, node.id))?.state ?? "");
  const [pointed, setPointed] = useState(false);
  const drawing = useCanvas((canvas) => canvas.drawn !== null);
  const Dot = pointed || drawing ? Socket : StillSocket;
  const height = internal?.measured.height ?? sizeOf(node, unfolded, collapsed).height;
  const estimated = socketsOf(node, unfolded, collapsed);
  const bounds = internal?.internals.handleBounds;
  const topOf = (id: string, type: "source" | "target") => {
    const found = bounds?.[type]?.find((one) => one.id === id) ?? estimated.find((one) => one.id === id && one.type === type);
    return found && found.y + (found.height ?? 0) / 2;
  };
  const inputs = node.inputs.filter((port) => topOf(port.id, "target") !== undefined);
  const outputs = node.outputs.filter((port) => topOf(port.id, "source") !== undefined);
  return (
    <div
      className={`far-node ${state}`}
      style={{ height: height - 2 }}
      onPointerEnter={() => setPointed(true)}
      onPointerLeave={() => setPointed(false)}
    >
      <span className="far-title" id={`${domId(node.id)}-title`}>
        {breakable(node.title || node.id)}
      </span>
      <span hidden id={`${domId(node.id)}-state`}>
        {state}
      </span>
      {node.id === OUTPUTS && node.inputs.map((port) => <Result key={port.id} crumb={crumb} name={port.name} />)}
      {inputs.map((port) => (
        <Dot key={port.id} node={node} port={port} side="input" top={topOf(port.id, "target")} />
      ))}
      {outputs.map((port) => (
        <Dot key={port.id} node={node} port={port} side="output" top={topOf(port.id, "source")} />
      ))}
    </div>
  );
}

/** A name that may be broken after each "_". */
function breakable(name: string): string {
  return name.replaceAll("_", "_\u200b");
}
