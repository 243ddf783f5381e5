import { type FormEvent, useId, useState } from "react";
import type { InputDeclaration } from "../document/workflow";
import { addFileInput, removeFileInput, renameFileInput } from "../graph/edits";
import type { Level } from "../state/level";
import { useStore } from "../state/store";
import { INPUT_TYPES, declarationEdits, retyped } from "./declaration";
import { Field } from "./Field";
import { NameBox } from "./NameBox";
import { RunValues } from "./RunValues";
import { forFile } from "./stored";
import { TextField } from "./TextField";
import { attempt, isRun } from "./writing";

/** The inputs of a workflow: their values for the next run, and how the file declares them. */
export function InputsForm({ level }: { level: Level }) {
  const names = Object.keys(level.file.inputs ?? {});
  return (
    <div className="form">
      <h2>Inputs</h2>
      {isRun(level.crumb) && <RunValues />}
      <section className="form-section" aria-label="Inputs of the file">
        <h3>Inputs of the file</h3>
        {names.map((name) => (
          <Declaration key={name} level={level} name={name} declared={level.file.inputs![name]!} />
        ))}
        <AddInput level={level} />
      </section>
    </div>
  );
}

type Given = { level: Level; name: string; declared: InputDeclaration };

function Declaration({ level: { crumb, doc, file }, name, declared }: Given) {
  const change = useStore((state) => state.change);
  const type = declared.type ?? "any";
  const put = (after: InputDeclaration, what: string) => {
    const group = `${crumb.doc}:inputs.${name}.${what}`;
    change({ edits: declarationEdits(name, declared, after), label: `${what} of ${name}`, group }, crumb.doc);
  };
  const number = type === "integer" || type === "number";
  return (
    <details className="form-declaration">
      <summary>
        <b>{name}</b> <span className="quiet">{INPUT_TYPES[type] ?? type}</span>
      </summary>
      <div className="form-inner">
        <NameBox
          label="Name"
          name={name}
          onRename={(to) => change(renameFileInput(file, name, to, doc.history.now.values), crumb.doc)}
        />
        <TypeSelect type={type} onChange={(to) => put(retyped(declared, to), "Type")} />
        {type !== "any" && (
          <Field
            name="Default"
            type={type}
            schema={schemaOf(declared)}
            value={declared.default}
            default={undefined}
            help="Without one, every run has to give a value."
            nameFile={forFile}
            onChange={(value) => put({ ...declared, default: value }, "Default")}
          />
        )}
        <TextField
          name="Description"
          lines
          value={declared.description}
          onChange={(description) => put({ ...declared, description }, "Description")}
        />
        {number && (
          <div className="form-pair">
            {(["minimum", "maximum"] as const).map((key) => (
              <Field
                key={key}
                name={key === "minimum" ? "Minimum" : "Maximum"}
                type={type}
                value={declared[key]}
                onChange={(value) => put({ ...declared, [key]: value }, key)}
              />
            ))}
          </div>
        )}
        {type === "array" && (
          <Field
            name="Items"
            type="string"
            schema={{ type: "string", enum: ITEM_TYPES }}
            value={declared.items}
            onChange={(items) => put(withItems(declared, items), "Items")}
          />
        )}
        {type === "string" && (
          <Field
            name="Options"
            type="list[str]"
            value={declared.enum ?? []}
            required
            help="None allows any text."
            onChange={(value) => put({ ...declared, enum: optionsOf(value) }, "Options")}
          />
        )}
        <button className="form-remove" onClick={() => change(removeFileInput(file, name), crumb.doc)}>
          Remove {name}
        </button>
      </div>
    </details>
  );
}

const ITEM_TYPES = ["string", "integer", "number", "boolean", "path"];

function withItems({ items: _, ...others }: InputDeclaration, items: unknown): InputDeclaration {
  return typeof items === "string" ? { ...others, items } : others;
}

function schemaOf({ type, minimum, maximum, enum: options, items }: InputDeclaration) {
  if (type === "array") return { type, ...(items !== undefined && { items: { type: items } }) };
  if (type === undefined) return {};
  const named = type === "path" ? { type: "string", format: "path" } : { type };
  return {
    ...named,
    ...(minimum !== undefined && { minimum }),
    ...(maximum !== undefined && { maximum }),
    ...(options && { enum: options }),
  };
}

function optionsOf(value: unknown): string[] | undefined {
  const lines = Array.isArray(value)
    ? value.filter((line): line is string => typeof line === "string" && line !== "")
    : [];
  return lines.length > 0 ? lines : undefined;
}

function TypeSelect({ type, onChange }: { type: string; onChange(type: string): void }) {
  const id = useId();
  return (
    <div className="field">
      <div className="field-head">
        <label htmlFor={id}>Type</label>
      </div>
      <select id={id} value={type} onChange={(event) => onChange(event.target.value)}>
        {Object.entries(INPUT_TYPES).map(([one, words]) => (
          <option key={one} value={one}>
            {words}
          </option>
        ))}
      </select>
    </div>
  );
}

const BEGINNINGS: Record<string, InputDeclaration> = {
  string: { type: "string", default: "" },
  integer: { type: "integer", default: 0 },
  number: { type: "number", default: 0 },
  boolean: { type: "boolean", default: false },
  path: { type: "path" },
  array: { type: "array", default: [] },
  any: { type: "any" },
};

function AddInput({ level: { crumb, file } }: { level: Level }) {
  const change = useStore((state) => state.change);
  const [name, setName] = useState("");
  const [type, setType] = useState("string");
  const [problem, setProblem] = useState<string | null>(null);
  const add = (event: FormEvent) => {
    event.preventDefault();
    const refused = attempt(() => change(addFileInput(file, name.trim(), BEGINNINGS[type]!), crumb.doc));
    setProblem(refused);
    if (refused === null) setName("");
  };
  return (
    <form className="form-inner" aria-label="Add an input" onSubmit={add}>
      <b>Add an input</b>
      <div className="field">
        <div className="field-head">
          <label htmlFor="new-input">Name of the new input</label>
        </div>
        <input
          id="new-input"
          autoComplete="off"
          value={name}
          aria-invalid={problem !== null || undefined}
          aria-describedby={problem !== null ? "new-input-error" : undefined}
          onChange={(event) => setName(event.target.value)}
        />
        {problem !== null && (
          <p className="bad field-error" id="new-input-error" role="alert">
            {problem}
          </p>
        )}
      </div>
      <TypeSelect type={type} onChange={setType} />
      <button type="submit" disabled={name.trim() === ""}>
        Add
      </button>
    </form>
  );
}
