import { useState } from "react";
import type { WorkflowSummary } from "../api/types";
import { Modal } from "../parts/Modal";
import { perform } from "../state/command";
import { useStore } from "../state/store";
import { beginsHere } from "./focus";
import { matching, templates } from "./templates";

/** The shipped workflows, to begin with one of them. */
export default function TemplatesDialog() {
  const workflows = useStore((state) => state.workflows);
  const [search, setSearch] = useState("");
  const groups = templates(matching(workflows, search));
  return (
    <Modal title="Templates" wide>
      <div className="column">
        <input ref={beginsHere} type="search" aria-label="Search templates" placeholder="Search" value={search} onChange={(event) => setSearch(event.target.value)} />
        {groups.map((group) => (
          <section key={group.title} aria-label={group.title}>
            <h3>{group.title}</h3>
            <ul className="cards">
              {group.workflows.map((one) => (
                <li key={one.name}>
                  <Card workflow={one} />
                </li>
              ))}
            </ul>
          </section>
        ))}
        {groups.length === 0 && <p className="quiet">No template has these words.</p>}
      </div>
    </Modal>
  );
}

function Card({ workflow }: { workflow: WorkflowSummary }) {
  const closeDialog = useStore((state) => state.closeDialog);
  const open = () => {
    closeDialog();
    void perform({ id: "open", title: "Open", run: (state) => state.open(workflow.name) });
  };
  return (
    <button className="card" onClick={open}>
      <strong>{workflow.title || workflow.name}</strong>
      <span className="quiet">{workflow.description}</span>
    </button>
  );
}
