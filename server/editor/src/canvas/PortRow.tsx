import { type MouseEvent, Suspense } from "react";
import { INPUTS, type Port } from "../graph/graph";
import { plain } from "../graph/types";
import { lazily } from "../parts/lazily";
import { type NodeData, isAt } from "./flow";
import { openNodeMenu } from "./menus";
import { type Row, isMissing } from "./rows";
import { Socket } from "./Socket";

// The graph is painted before its fields are there; they need no other room than their names.
const PortField = lazily(async () => ({ default: (await import("../forms/PortField")).PortField }));

/** One row of a node: an input at the left, an output at the right, or a value that can be written here. */
export function PortRow({ row, data }: { row: Row; data: NodeData }) {
  const { node, crumb, problems } = data;
  const { input, output } = row;
  const port = (input ?? output)!;
  const errors = input ? problems.filter((one) => isAt(one, input) && one.code !== "missing-input") : [];
  const menu = (event: MouseEvent) => {
    event.stopPropagation();
    openNodeMenu(event, node.id, port);
  };
  return (
    <div className={row.field ? "port-row field-row" : "port-row"} onContextMenu={menu}>
      {input && <Socket node={node} port={input} side="input" />}
      {row.field ? (
        <Suspense fallback={<span className="port-name">{port.name}</span>}>
          <PortField crumb={crumb} node={node} port={port} compact />
        </Suspense>
      ) : (
        <div className="port-names">
          {input && <InputName port={input} bad={errors.length > 0} alone={output === undefined} />}
          {output && <span className="port-name output">{nameOf(output, node.id)}</span>}
        </div>
      )}
      {output && <Socket node={node} port={output} side="output" />}
      {!row.field && errors.length > 0 && (
        <p className="port-error" title={errors.map((one) => one.text).join("\n")}>
          {errors[0]!.message}
        </p>
      )}
    </div>
  );
}

function InputName({ port, bad, alone }: { port: Port; bad: boolean; alone: boolean }) {
  const missing = isMissing(port);
  return (
    <span className={missing || bad ? "port-name bad" : "port-name"}>
      {port.name}
      {SECTIONS[port.section] && <small> {SECTIONS[port.section]}</small>}
      {missing && <small> {alone ? "needed" : "*"}</small>}
    </span>
  );
}

const SECTIONS: Partial<Record<Port["section"], string>> = { each: "each", carry: "carried", cases: "case", collect: "collected" };

/** An only output that has no name of its own goes by its type. */
function nameOf(port: Port, node: string): string {
  if (port.name === "output") return plain(port.type);
  const section = node === INPUTS ? SECTIONS[port.section] : undefined;
  return section ? `${port.name} · ${section}` : port.name;
}
