import { same } from "../document/edit";
import type { Change } from "../document/history";
import type { Json } from "../document/syntax";
import { removeNodes, setEntry, setInput } from "../graph/edits";
import type { GraphNode, Port } from "../graph/graph";
import { linksIn } from "../graph/references";
import type { Level } from "../state/level";
import { useStore } from "../state/store";
import { Field } from "./Field";
import { forFile } from "./stored";

type Given = { level: Level; nodes: readonly GraphNode[] };

/** What can be done to several nodes together. */
export function SeveralForm({ level: { crumb, file }, nodes }: Given) {
  const change = useStore((state) => state.change);
  const select = useStore((state) => state.select);
  const own = nodes.filter((node) => node.entry !== null);
  const together = (label: string, made: readonly Change[], group?: string) =>
    change({ edits: made.flatMap((one) => one.edits ?? []), label, ...(group && { group }) }, crumb.doc);
  const toggle = (key: "mute" | "bypass") => {
    const on = !own.every((node) => node.entry?.[key]);
    together(
      `${key === "mute" ? "Mute" : "Bypass"} ${own.length} nodes`,
      own.map((node) => setEntry(crumb.body, node.id, key, on || undefined)),
    );
  };
  const remove = () => {
    change(removeNodes(file, crumb.body, own.map((node) => node.id)), crumb.doc);
    select([]);
  }; // prettier-ignore
  return (
    <div className="form">
      <h2>{nodes.length} nodes</h2>
      <p className="quiet">{nodes.map((node) => node.title || node.id).join(", ")}</p>
      <div className="row form-wrap">
        <button aria-pressed={own.every((node) => node.entry?.mute)} onClick={() => toggle("mute")}>
          Mute
        </button>
        <button aria-pressed={own.every((node) => node.entry?.bypass)} onClick={() => toggle("bypass")}>
          Bypass
        </button>
        <button onClick={remove}>Remove</button>
      </div>
      {sharedPorts(own).map((ports) => (
        <SharedField
          key={ports[0]!.name}
          ports={ports}
          onChange={(value) =>
            together(
              `Set ${ports[0]!.name} of ${own.length} nodes`,
              own.map((node, at) => setInput(crumb.body, node, ports[at]!, value)),
              `${crumb.doc}:${own.map((node) => node.id).join(",")}.${ports[0]!.name}`,
            )
          }
        />
      ))}
    </div>
  );
}

/** The ports that all nodes have, of one type and without a link: for each the ports of the nodes, in their order. */
export function sharedPorts(nodes: readonly GraphNode[]): Port[][] {
  const [first, ...others] = nodes;
  return (first?.inputs ?? []).flatMap((port) => {
    const ports = [port, ...others.map((node) => node.inputs.find((one) => one.id === port.id))];
    const found = ports.filter((one) => one !== undefined);
    const fits =
      found.length === nodes.length &&
      found.every((one) => one.literal && one.type === port.type && linksIn(one.source).length === 0);
    return fits ? [found] : [];
  });
}

function SharedField({ ports, onChange }: { ports: readonly Port[]; onChange(value: Json | undefined): void }) {
  const port = ports[0]!;
  const values = ports.map((one) => (one.source ?? one.default ?? null) as Json);
  const alike = values.every((value) => same(value, values[0]!));
  return (
    <Field
      name={port.name}
      type={port.type}
      schema={port.schema}
      value={alike ? (port.source as Json | undefined) : undefined}
      default={alike ? port.default : undefined}
      help={alike ? port.help : `They differ: ${values.map((value) => JSON.stringify(value)).join(", ")}. ${port.help}`}
      nameFile={forFile}
      onChange={onChange}
    />
  );
}
