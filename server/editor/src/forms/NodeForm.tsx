import { exposePort, renameNode, setEntry } from "../graph/edits";
import { type GraphNode, type Port, calledWorkflow, nodePath } from "../graph/graph";
import { linksIn } from "../graph/references";
import { typeColor } from "../parts/typeColor";
import { problemsOf } from "../state/checking";
import { rootDoc, runPath } from "../state/documents";
import type { Level } from "../state/level";
import { useStore } from "../state/store";
import { LinkedPort, typeWords } from "./LinkedPort";
import { NameBox } from "./NameBox";
import { PortField } from "./PortField";
import { DocumentationOf } from "./Prose";
import { TextField } from "./TextField";

type Given = { level: Level; node: GraphNode };

/** All that a node of the file has. */
export function NodeForm({ level, node }: Given) {
  const change = useStore((state) => state.change);
  const { crumb, file } = level;
  const set = (key: "title" | "note", value: string | undefined) =>
    change(
      { ...setEntry(crumb.body, node.id, key, value), group: `${crumb.doc}:${nodePath(crumb.body, node.id)}.${key}` },
      crumb.doc,
    );
  const rename = (name: string) => {
    change(renameNode(file, crumb.body, node.id, name), crumb.doc);
    const { selection, select } = useStore.getState();
    if (selection.includes(node.id)) select(selection.map((id) => (id === node.id ? name : id)));
  };
  return (
    <div className="form">
      <div>
        <h2>{node.title || node.id}</h2>
        <p className="quiet">
          <code>{node.type}</code> {node.category}
        </p>
      </div>
      {node.kind === "missing" && <Missing node={node} />}
      <NodeProblems level={level} node={node} />
      <DocumentationOf doc={node.doc || CALLS[node.kind] || ""} />
      {node.kind === "workflow" && <Called node={node} />}
      <Switches level={level} node={node} />
      <Inputs level={level} node={node} />
      <Outputs node={node} />
      <NameBox label="Name in the file" name={node.id} onRename={rename} />
      <TextField name="Title" value={node.title} onChange={(value) => set("title", value)} />
      <TextField name="Note" lines value={node.entry?.note} onChange={(value) => set("note", value)} />
    </div>
  );
}

/** What the built-in types do; the catalog documents the others. */
const CALLS: Partial<Record<GraphNode["kind"], string>> = {
  loop: "Runs its body once after the other; what is carried goes from one iteration to the next.",
  map: "Runs its body once for each item, or each combination of items, and gives lists.",
  switch: "Gives the value of the case that is selected; the others are not run.",
  workflow: "Runs another workflow file.",
};

/** The file that a node calls. */
function Called({ node }: { node: GraphNode }) {
  const name = node.entry ? calledWorkflow(node.entry) : "";
  const called = useStore((state) => state.workflows.find((one) => one.name === name));
  return (
    <p>
      <code>{node.entry?.path || "no file yet"}</code> {called?.description}
    </p>
  );
}

function Missing({ node }: { node: GraphNode }) {
  return (
    <p className="form-warning" role="alert">
      There is no node type <code>{node.type}</code> now. What the file says of it stays as it is; the plugin that has
      it may be missing or broken.
    </p>
  );
}

/** What is wrong with the node itself, or within it; what is wrong with a port stands at its field. */
function NodeProblems({ level, node }: Given) {
  const check = useStore((state) => state.checks[rootDoc(state)?.name ?? ""]);
  const path = runPath(level.crumb, node.id);
  const ports = new Set(node.inputs.map((port) => port.name));
  const found = problemsOf(check, path).filter((one) => one.node !== path || !ports.has(one.port));
  if (found.length === 0) return null;
  return (
    <ul className="bad form-problems">
      {found.map((one) => (
        <li key={one.text}>
          {one.node !== path && `${one.node}: `}
          {one.message}
          {one.fix && `; ${one.fix}`}
        </li>
      ))}
    </ul>
  );
}

const SWITCHES = [
  { key: "mute", name: "Mute", title: "It is not run, and neither is what needs it." },
  { key: "bypass", name: "Bypass", title: "It is not run; what comes in of the same type goes out." },
] as const;

function Switches({ level: { crumb }, node }: Given) {
  const change = useStore((state) => state.change);
  return (
    <div className="row">
      {SWITCHES.map(({ key, name, title }) => (
        <label key={key} className="form-check" title={title}>
          <input
            type="checkbox"
            checked={node.entry?.[key] === true}
            onChange={(event) => change(setEntry(crumb.body, node.id, key, event.target.checked || undefined), crumb.doc)}
          />
          {name}
        </label>
      ))}
    </div>
  );
}

function Inputs({ level, node }: Given) {
  if (node.inputs.length === 0) return null;
  return (
    <section className="form-section" aria-label="Inputs">
      <h3>Inputs</h3>
      {node.inputs.map((port) =>
        takesValue(port) ? (
          <PortField key={port.id} crumb={level.crumb} node={node} port={port}>
            <Expose level={level} node={node} port={port} />
          </PortField>
        ) : (
          <LinkedPort key={port.id} crumb={level.crumb} graph={level.graph} node={node} port={port} />
        ),
      )}
    </section>
  );
}

/** Whether a value is written here: where one may be, or where one is (a list that a loop goes through, say). */
function takesValue(port: Port): boolean {
  return linksIn(port.source).length === 0 && (port.literal || port.source !== undefined);
}

function Expose({ level: { crumb, file }, node, port }: Given & { port: Port }) {
  const change = useStore((state) => state.change);
  const words = `Make ${port.name} an input of the workflow`;
  return (
    <button
      className="plain icon"
      aria-label={words}
      title={words}
      onClick={() => change(exposePort(file, crumb.body, node, port).change, crumb.doc)}
    >
      ⇤
    </button>
  );
}

function Outputs({ node }: { node: GraphNode }) {
  if (node.outputs.length === 0) return null;
  return (
    <section className="form-section" aria-label="Outputs">
      <h3>Outputs</h3>
      <ul className="form-ports">
        {node.outputs.map((port) => (
          <li key={port.id}>
            <span className="form-dot" style={{ background: typeColor(port.type) }} />
            {port.name} <span className="quiet form-type">{typeWords(port.type)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
