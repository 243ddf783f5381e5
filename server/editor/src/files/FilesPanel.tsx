import { useId, useState } from "react";
import type { WorkflowSummary } from "../api/types";
import { perform } from "../state/command";
import { currentCrumb, isDirty } from "../state/documents";
import { type Store, useStore } from "../state/store";
import { openListed, openNew } from "./opening";
import { matching } from "./templates";
import "./files.css";

type Listed = Pick<WorkflowSummary, "name" | "title" | "description" | "shipped" | "problems">;

/** All workflows: one's own first, then those that come with Stepgraph. */
export default function FilesPanel() {
  const workflows = useStore((state) => state.workflows);
  const docs = useStore((state) => state.docs);
  const [search, setSearch] = useState("");
  const openDialog = useStore((state) => state.openDialog);
  const found = matching([...unsavedOnly(docs, workflows), ...workflows], search);
  return (
    <div className="column">
      <div className="row">
        <button onClick={openNew}>New</button>
        <button onClick={() => openDialog("templates")}>Templates</button>
      </div>
      <input type="search" aria-label="Search workflows" placeholder="Search" value={search} onChange={(event) => setSearch(event.target.value)} />
      <Group title="Yours" workflows={found.filter((one) => !one.shipped)} empty={search ? "" : "None yet. What you save stands here."} />
      <Group title="Come with Stepgraph" workflows={found.filter((one) => one.shipped)} empty="" />
      {found.length === 0 && <p className="quiet">No workflow has these words.</p>}
    </div>
  );
}

/** Documents that were never saved, which the server does not know. */
function unsavedOnly(docs: Store["docs"], workflows: readonly WorkflowSummary[]): Listed[] {
  const known = new Set(workflows.map((one) => one.name));
  return Object.keys(docs).flatMap((name) =>
    known.has(name) ? [] : [{ name, title: "", description: "Not saved yet.", shipped: false, problems: [] }],
  );
}

function Group({ title, workflows, empty }: { title: string; workflows: readonly Listed[]; empty: string }) {
  const id = useId();
  if (workflows.length === 0 && empty === "") return null;
  return (
    <section aria-labelledby={id}>
      <h3 id={id}>{title}</h3>
      {workflows.length === 0 && <p className="quiet">{empty}</p>}
      <ul className="file-list">
        {workflows.map((one) => (
          <Item key={one.name} workflow={one} />
        ))}
      </ul>
    </section>
  );
}

function Item({ workflow: { name, title, description, shipped, problems } }: { workflow: Listed }) {
  const shown = useStore((state) => currentCrumb(state)?.doc === name);
  const dirty = useStore((state) => state.docs[name] !== undefined && isDirty(state.docs[name]));
  const saved = useStore((state) => state.docs[name]?.saved !== null);
  const openDialog = useStore((state) => state.openDialog);
  return (
    <li className={shown ? "file-item shown" : "file-item"}>
      <button
        className="plain"
        aria-current={shown || undefined}
        title={description}
        onClick={() => void perform({ id: "open", title: "Open", run: () => openListed(name) })}
      >
        <span className="file-title">{title || name}</span>
        <span className="quiet file-name">
          {name}.json
          {dirty && <span className="badge">unsaved</span>}
          {problems.length > 0 && <span className="badge bad">{problems.length === 1 ? "1 problem" : `${problems.length} problems`}</span>}
        </span>
        {problems.length > 0 && <span className="bad file-problem">{problems[0]!.message}</span>}
      </button>
      {!shipped && saved && (
        <span className="file-actions">
          <button className="plain icon" aria-label={`Rename ${name}`} title="Rename" onClick={() => openDialog("rename", { name })}>
            ✎
          </button>
          <button className="plain icon" aria-label={`Delete ${name}`} title="Delete" onClick={() => openDialog("delete", { name })}>
            ×
          </button>
        </span>
      )}
    </li>
  );
}
