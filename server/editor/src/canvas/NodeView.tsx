/** One node on the canvas. */

import { type NodeProps, useUpdateNodeInternals } from "@xyflow/react";
import { type CSSProperties, memo, useContext, useEffect } from "react";
import { INPUTS, OUTPUTS } from "../graph/graph";
import { runPath } from "../state/documents";
import { toggleUnfolded } from "./canvasState";
import { categoryColor } from "./categoryColor";
import { Far } from "./far";
import { FarNode } from "./FarNode";
import { type GraphFlowNode, type NodeData, isAt } from "./flow";
import { NodeHead } from "./NodeHead";
import { PortRow } from "./PortRow";
import { Result } from "./Result";
import { rowsOf } from "./rows";
import { RunFoot } from "./RunMark";
import { Socket } from "./Socket";
import { widthOf } from "./size";
import "./node.css";

/** Nodes whose sockets React Flow measured: one that only comes into view again need not be measured again. */
const measured = new WeakSet<NodeData>();

export const NodeView = memo(function NodeView({ data, selected }: NodeProps<GraphFlowNode>) {
  const far = useContext(Far);
  const { node } = data;
  const update = useUpdateNodeInternals();
  // Sockets that moved within a node of the same size would not be noticed.
  useEffect(() => {
    if (far || measured.has(data)) return;
    measured.add(data);
    update(node.id);
  }, [far, data, node.id, update]);
  const off = node.entry?.mute === true || node.entry?.bypass === true;
  const style = { "--category": off ? "var(--line-strong)" : categoryColor(node.category), width: widthOf(node) } as CSSProperties;
  return (
    <div className={classesOf(data, selected, far)} style={style}>
      {far ? <FarNode data={data} /> : <NearNode data={data} />}
    </div>
  );
});

function classesOf({ node, problems, collapsed }: NodeData, selected: boolean, far: boolean): string {
  const wrong = problems.some((one) => one.code !== "missing-input") || node.kind === "missing";
  const states = {
    selected, far, collapsed, wrong,
    muted: node.entry?.mute === true, bypassed: node.entry?.bypass === true, end: node.id === INPUTS || node.id === OUTPUTS,
  }; // prettier-ignore
  return ["node", `kind-${node.kind}`, ...Object.entries(states).flatMap(([name, on]) => (on ? [name] : []))].join(" ");
}

function NearNode({ data }: { data: NodeData }) {
  const { node, collapsed } = data;
  if (collapsed) {
    return (
      <>
        <NodeHead data={data} />
        <CollapsedSockets data={data} />
      </>
    );
  }
  return (
    <>
      <NodeHead data={data} />
      <Ports data={data} />
      {node.kind === "missing" && <MissingType data={data} />}
      <NodeProblems data={data} />
      {node.entry?.note && <p className="node-note">{node.entry.note}</p>}
      {node.id !== INPUTS && node.id !== OUTPUTS && <RunFoot path={runPath(data.crumb, node.id)} />}
    </>
  );
}

function Ports({ data }: { data: NodeData }) {
  const { node, crumb, unfolded } = data;
  const { rows, hidden } = rowsOf(node, unfolded);
  const path = runPath(crumb, node.id);
  return (
    <div className="node-rows">
      {rows.map((row) => (
        <PortRow key={(row.input ?? row.output)!.id} row={row} data={data} />
      ))}
      {node.id === OUTPUTS && node.inputs.map((port) => <Result key={port.id} crumb={crumb} name={port.name} />)}
      {hidden > 0 && (
        <button className="plain node-more nodrag" aria-expanded={unfolded} onClick={() => toggleUnfolded(path)}>
          {unfolded ? "Fewer" : `${hidden} more`}
        </button>
      )}
      {rows.length === 0 && hidden === 0 && node.kind !== "missing" && <p className="node-empty">{EMPTY[node.id] ?? "no ports yet"}</p>}
    </div>
  );
}

const EMPTY: Record<string, string> = { [INPUTS]: "no inputs yet", [OUTPUTS]: "no outputs yet: drag a link here" };

/** All sockets of a collapsed node, one over the other, so that its links stay. */
function CollapsedSockets({ data: { node } }: { data: NodeData }) {
  return (
    <div className="node-stacked">
      {node.inputs.map((port) => (
        <Socket key={port.id} node={node} port={port} side="input" />
      ))}
      {node.outputs.map((port) => (
        <Socket key={port.id} node={node} port={port} side="output" />
      ))}
    </div>
  );
}

/** A node whose type is not there: its data stays and is shown. */
function MissingType({ data: { node } }: { data: NodeData }) {
  const values = Object.entries(node.entry?.inputs ?? {}).filter(([, source]) => typeof source !== "object" || source === null);
  return (
    <div className="node-missing">
      <p>The type “{node.type}” is not there. Its data is kept; it works again when its plugin is back.</p>
      {values.length > 0 && <pre>{values.map(([name, value]) => `${name}: ${JSON.stringify(value)}`).join("\n")}</pre>}
    </div>
  );
}

/** What is wrong with a node and stands at none of its rows. */
function NodeProblems({ data: { node, problems, unfolded } }: { data: NodeData }) {
  const { rows } = rowsOf(node, unfolded);
  const ports = rows.flatMap((row) => (row.input ? [row.input] : []));
  const own = problems.filter((one) => one.code !== "unknown-node-type" && !ports.some((port) => isAt(one, port)));
  if (own.length === 0) return null;
  return (
    <ul className="node-problems">
      {own.slice(0, 3).map((one) => (
        <li key={one.text}>{one.message}</li>
      ))}
      {own.length > 3 && <li>and {own.length - 3} more</li>}
    </ul>
  );
}
