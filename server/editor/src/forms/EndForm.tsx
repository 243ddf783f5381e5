import { isReference } from "../document/workflow";
import { removePort, renamePort } from "../graph/edits";
import { type Graph, type GraphNode, INPUTS, type Port, origin } from "../graph/graph";
import { typeColor } from "../parts/typeColor";
import type { Level } from "../state/level";
import { useStore } from "../state/store";
import { LinkedPort } from "./LinkedPort";
import { NameBox } from "./NameBox";

type Given = { level: Level; node: GraphNode };

/** An end of a level: what the workflow gives, or what a loop gives its body and takes from it. */
export function EndForm({ level, node }: Given) {
  const ports = node.id === INPUTS ? node.outputs : node.inputs;
  return (
    <div className="form">
      <h2>{node.title}</h2>
      {ports.length === 0 && <p className="quiet">Nothing yet. Draw a link to it on the canvas.</p>}
      {ports.map((port) => (
        <EndPort key={port.id} level={level} node={node} port={port} />
      ))}
    </div>
  );
}

const SAYS: Partial<Record<Port["section"], string>> = {
  carry: "Goes on to the next iteration.",
  collect: "Of all iterations, as a list.",
};

/** The type of what goes out: that of the output that it comes from. */
function givenType(graph: Graph, port: Port): string {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const start = isReference(port.source) ? origin(port.source.from, nodes) : null;
  return nodes.get(start?.from ?? "")?.outputs.find((output) => output.id === start?.output)?.type ?? port.type;
}

/** The number of an iteration is always there, under its own name. */
function EndPort({ level: { crumb, file, graph }, node, port }: Given & { port: Port }) {
  const change = useStore((state) => state.change);
  const own = port.id !== "index";
  return (
    <section className="form-section" aria-label={port.name}>
      {node.id === INPUTS ? (
        <p>
          <span className="form-dot" style={{ background: typeColor(port.type) }} />
          <b>{port.name}</b> <span className="quiet form-type">{port.type}</span>
          <span className="quiet"> {port.help}</span>
        </p>
      ) : (
        <LinkedPort
          crumb={crumb}
          graph={graph}
          node={node}
          port={{ ...port, type: givenType(graph, port), help: SAYS[port.section] ?? port.help, required: true }}
        />
      )}
      {own && (
        <NameBox
          label={`Name of ${port.name}`}
          name={port.name}
          onRename={(to) => change(renamePort(file, crumb.body, node.id, port, to), crumb.doc)}
        />
      )}
      {own && (
        <button className="form-remove" onClick={() => change(removePort(file, crumb.body, node.id, port), crumb.doc)}>
          Remove {port.name}
        </button>
      )}
    </section>
  );
}
