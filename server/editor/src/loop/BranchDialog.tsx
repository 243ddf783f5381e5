import { type FormEvent, useId, useMemo, useState } from "react";
import type { NodeType } from "../api/types";
import type { Json } from "../document/syntax";
import { EditProblem } from "../document/edit";
import { type InputDeclaration, type Source, type WorkflowFile, isReference } from "../document/workflow";
import { Field } from "../forms/Field";
import { type Apart, takenApart } from "../graph/apart";
import type { Iterations } from "../graph/origin";
import { type Seam, type Setting, NoSeam, type Wish, branch, noiseOf, seamOf, settingsOf } from "../graph/branch";
import { Modal } from "../parts/Modal";
import { allCommands } from "../state/command";
import { type Doc, fileOf, rootDoc } from "../state/documents";
import { useStore } from "../state/store";
import { type BranchAbout, usePlace } from "./place";
import "./loop.css";

/** What differs from a step on; the steps before it are those of the original, from the cache. */
export default function BranchDialog({ about }: { about: unknown }) {
  const { loop, name, outer, index, count } = about as BranchAbout;
  const doc = useStore(rootDoc);
  const docs = useStore((state) => state.docs);
  const found = useMemo(() => (doc ? placeOf(doc, docs, loop, outer) : "No workflow is open."), [doc, docs, loop, outer]);
  return (
    <Modal title={`Branch ${name}`}>
      {typeof found === "string" ? <p>{found}</p> : <BranchForm doc={doc!} place={found} kept={Math.min(index + 1, count - 1)} count={count} />}
    </Modal>
  );
}

/** Where the branch is made, and what the file is like then. */
type Place = Apart & { seam: Seam };

/** The place, or why there is none. */
function placeOf(doc: Doc, docs: Readonly<Record<string, Doc>>, loop: string, at: Iterations): Place | string {
  const files = (name: string) => docs[name] && fileOf(docs[name]);
  try {
    const apart = takenApart(doc.history.now.tree, doc.name, loop, files, { at, values: doc.history.now.values });
    return apart ? { ...apart, seam: seamOf(apart.loop) } : `${doc.name} has no loop ${loop} any more; run it as it is now, then branch.`;
  } catch (problem) {
    if (problem instanceof NoSeam || problem instanceof EditProblem) return problem.message;
    throw problem;
  }
}

function BranchForm({ doc, place, kept, count }: { doc: Doc; place: Place; kept: number; count: number }) {
  const { file, seam } = place;
  const [at, setAt] = useState(kept);
  const [chosen, setChosen] = useState<Readonly<Record<string, Json>>>({});
  const [between, setBetween] = useState("");
  const heading = useId();
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const run = (event.nativeEvent as SubmitEvent).submitter?.getAttribute("value") === "run";
    apply(doc, place, { at, ...split(chosen), ...betweenOf(between) }, run);
  };
  return (
    <form className="branch-form" onSubmit={submit}>
      <label className="branch-at">
        Keep the steps up to
        <input type="number" min={0} max={count} required value={at} onChange={(event) => setAt(event.target.valueAsNumber)} />
        of {count}
      </label>
      <h3 id={heading}>From step {Number.isNaN(at) ? "" : at + 1} on, with another…</h3>
      <div className="branch-settings" role="group" aria-labelledby={heading}>
        <Settings doc={doc} file={file} seam={seam} chosen={chosen} setChosen={setChosen} />
        <Between value={between} onChange={setBetween} />
      </div>
      <p className="quiet">
        What is kept is not computed again, and the original stays as it is. The branch gets nodes and outputs of its own,
        which you can go on to edit; choose nothing to have just those.
      </p>
      {place.items.map((item) => (
        <p key={item.map}>
          For this, item {item.index + 1} of {item.map} ({Object.values(item.given).map(wordsOf).join(", ")}) gets nodes of its own in this
          file; {item.map} stays as it is.
        </p>
      ))}
      {place.nodes.length > 0 && <p>For this, {place.nodes.join(" and ")} is taken apart: its nodes stand in this file then, and do the same.</p>}
      <div className="branch-actions">
        <button value="edit">Branch, don’t run</button>
        <button className="primary" value="run">
          Branch and run
        </button>
      </div>
    </form>
  );
}

function wordsOf(given: Source): string {
  return isReference(given) ? given.from : typeof given === "string" ? given : JSON.stringify(given);
}

/** The id of the one setting that is no input and no port. */
const SEED = "noise";

type SettingsProps = {
  doc: Doc;
  file: WorkflowFile;
  seam: Seam;
  chosen: Readonly<Record<string, Json>>;
  setChosen(chosen: Readonly<Record<string, Json>>): void;
};

function Settings({ doc, file, seam, chosen, setChosen }: SettingsProps) {
  const settings = useMemo(() => settingsOf(file, seam), [file, seam]);
  const noise = useMemo(() => noiseOf(file, seam), [file, seam]);
  const { values } = doc.history.now;
  const set = (id: string, value: Json | undefined) => {
    const { [id]: _, ...others } = chosen;
    setChosen(value === undefined ? others : { ...others, [id]: value });
  };
  const current = (one: Setting) => (one.from === "input" ? values[one.name] : undefined) ?? one.value ?? empty(one.declared);
  return (
    <>
      {settings.map((one) => (
        <OneSetting key={idOf(one)} id={idOf(one)} name={one.name} declared={one.declared} current={current(one)} chosen={chosen} set={set} />
      ))}
      {noise && (
        <OneSetting
          id={SEED} name="seed" chosen={chosen} set={set} current={Number(values[noise.input] ?? file.inputs?.[noise.input]?.default ?? 0) + 1}
          declared={{ type: "integer", minimum: 0, description: "The finished picture is noised again to the level of this step, by this seed." }}
        />
      )}
    </>
  );
}

type OneProps = {
  id: string;
  name: string;
  declared: InputDeclaration;
  current: Json;
  chosen: Readonly<Record<string, Json>>;
  set(id: string, value: Json | undefined): void;
};

function OneSetting({ id, name, declared, current, chosen, set }: OneProps) {
  const on = Object.hasOwn(chosen, id);
  return (
    <div className="branch-setting">
      <label>
        <input type="checkbox" checked={on} onChange={() => set(id, on ? undefined : current)} />
        {id === SEED ? "seed, for fresh noise" : name.replaceAll("_", " ")}
      </label>
      {on && (
        <div className="branch-value">
          <Field
            name={name} type={declared.type ?? "any"} schema={schemaOf(declared)} value={chosen[id]} default={current} required
            help={declared.description} onChange={(value) => set(id, value ?? current)}
          />
        </div>
      )}
    </div>
  );
}

/** Nodes that change latents and need nothing else that is no literal. */
function Between({ value, onChange }: { value: string; onChange(value: string): void }) {
  const types = useStore((state) => state.nodeTypes);
  const fitting = useMemo(() => types.filter((type) => latentsOf(type) !== null), [types]);
  if (fitting.length === 0) return null;
  return (
    <label className="branch-setting">
      A node that changes the latents there
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        <option value="">none</option>
        {fitting.map((type) => (
          <option key={type.name} value={type.name}>
            {type.short_name}
          </option>
        ))}
      </select>
    </label>
  );
}

/** The input and the output of a node type between which latents go; null for types that do something else. */
function latentsOf(type: NodeType): { input: string; output: string } | null {
  const input = Object.entries(type.inputs).find(([, port]) => port.type === "Latents")?.[0];
  const output = Object.entries(type.outputs).find(([, port]) => port.type === "Latents")?.[0];
  const others = Object.entries(type.inputs).filter(([name]) => name !== input);
  if (input === undefined || output === undefined || others.some(([, port]) => port.required && !port.literal)) return null;
  return { input, output };
}

function betweenOf(name: string): Pick<Wish, "between"> {
  const type = useStore.getState().catalog.get(name);
  const ports = type && latentsOf(type);
  return ports ? { between: { type: type.short_name, ...ports, values: {} } } : {};
}

function idOf(one: Setting): string {
  return `${one.from} ${one.name}`;
}

function split(chosen: Readonly<Record<string, Json>>): Pick<Wish, "inputs" | "ports" | "seed"> {
  const of = (from: string): Record<string, Json> => {
    const own = Object.entries(chosen).filter(([id]) => id.startsWith(`${from} `));
    return Object.fromEntries(own.map(([id, value]) => [id.slice(from.length + 1), value]));
  };
  const seed = chosen[SEED];
  return { inputs: of("input"), ports: of("port"), ...(typeof seed === "number" && { seed }) };
}

function empty(declared: InputDeclaration): Json {
  if (declared.type === "boolean") return false;
  return declared.type === "integer" || declared.type === "number" ? (declared.minimum ?? 0) : "";
}

function schemaOf(declared: InputDeclaration) {
  const type = declared.type === "path" ? "string" : declared.type;
  return {
    type, ...(declared.type === "path" && { format: "path" }), ...(declared.enum && { enum: declared.enum }),
    ...(declared.minimum !== undefined && { minimum: declared.minimum }), ...(declared.maximum !== undefined && { maximum: declared.maximum }),
  }; // prettier-ignore
}

/** Changes the file, shows the new nodes, and runs it if that is wanted. */
function apply(doc: Doc, { file, seam, edits }: Place, wish: Wish, run: boolean): void {
  const { change, leaveTo, select, closeDialog, say, startRun } = useStore.getState();
  try {
    const made = branch(file, seam, wish);
    leaveTo(0);
    change({ ...made.change, edits: [...edits, ...(made.change.edits ?? [])] }, doc.name);
    select(made.names);
    closeDialog();
    usePlace.getState().setLoop(made.rest);
    say("success", `The branch is there: ${made.outputs.length > 0 ? `its outputs are ${made.outputs.join(", ")}` : `${made.rest} has no output yet`}.`);
    setTimeout(showSelection, DRAWN_MILLISECONDS);
    if (run) void startRun();
  } catch (problem) {
    if (!(problem instanceof NoSeam) && !(problem instanceof EditProblem)) throw problem;
    say("error", problem.message);
  }
}

/** New nodes are drawn before they can be shown. */
const DRAWN_MILLISECONDS = 500;

function showSelection(): void {
  void allCommands().find((command) => command.id === "fit-selection")?.run(useStore.getState());
}
