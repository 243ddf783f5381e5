import type { Level } from "../state/level";
import { useStore } from "../state/store";
import { RunValues } from "./RunValues";
import { TextField } from "./TextField";

/** What the file that is shown says of itself, and the values for the next run of the tab's workflow. */
export function WorkflowForm({ level: { doc, file } }: { level: Level }) {
  const change = useStore((state) => state.change);
  const set = (key: "title" | "description", value: string | undefined) => {
    const path = [key];
    const edit =
      value === undefined
        ? { op: "remove" as const, path, when: "there" as const }
        : { op: "set" as const, path, value };
    change({ edits: [edit], label: `Set the ${key}`, group: `${doc.name}:${key}` }, doc.name);
  };
  return (
    <div className="form" key={doc.name}>
      <div>
        <h2>{file.title || doc.name}</h2>
        <p className="quiet">
          <code>{doc.name}.json</code>
          {doc.shipped && " comes with Stepgraph; saving makes a copy of your own."}
        </p>
        {file.description && <p>{file.description}</p>}
      </div>
      <RunValues />
      <section className="form-section" aria-label="About the file">
        <h3>About {doc.name}.json</h3>
        <TextField name="Title" value={file.title} onChange={(value) => set("title", value)} />
        <TextField name="Description" lines value={file.description} onChange={(value) => set("description", value)} />
      </section>
    </div>
  );
}
