import { type FormEvent, useState } from "react";
import { ApiProblem } from "../api/client";
import { nameProblem, ownName } from "../document/filenames";
import { Modal } from "../parts/Modal";
import { useStore } from "../state/store";
import { NameField } from "./NameField";
import { takenNames } from "./opening";
import { caller, saveAs, versionOf } from "./saving";

type About = { name: string; copy?: boolean };

/** Asks for the name to save a document under. */
export default function SaveDialog({ about }: { about: unknown }) {
  const { name: from, copy } = about as About;
  const shipped = useStore((state) => state.docs[from]?.shipped ?? false);
  const taken = useStore((state) => state.workflows);
  const [name, setName] = useState(() => proposed(from, shipped || copy === true));
  const outer = useStore((state) => caller(state, from)?.doc);
  const [lead, setLead] = useState(true);
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const there = taken.find((one) => one.name === name);
  const wrong = nameProblem(name) || problem;
  const save = async (event: FormEvent) => {
    event.preventDefault();
    if (nameProblem(name)) return;
    setBusy(true);
    const said = await saveUnder(from, name, lead && outer !== undefined);
    setBusy(false);
    setProblem(said);
  };
  return (
    <Modal title={shipped ? `Save your own version of “${from}”` : `Save “${from}” as`}>
      <form className="column" onSubmit={(event) => void save(event)}>
        {shipped && (
          <p className="quiet">
            “{from}” comes with Stepgraph and stays as it is. Under another name, the workflow is yours beside it. Under the same name,
            yours covers it for everything that uses it, until you delete yours.
          </p>
        )}
        <NameField
          value={name}
          wrong={wrong}
          hint={consequence(from, name, there)}
          onChange={(value) => {
            setName(value);
            setProblem("");
          }}
        />
        {outer !== undefined && name !== from && (
          <label className="row">
            <input type="checkbox" checked={lead} onChange={(event) => setLead(event.target.checked)} />“{outer}” calls the new file
            instead
          </label>
        )}
        <div className="row dialog-buttons">
          <button type="submit" className="primary" disabled={busy || nameProblem(name) !== ""}>
            {verb(from, name, there)}
          </button>
        </div>
      </form>
    </Modal>
  );
}

function proposed(from: string, another: boolean): string {
  return another ? ownName(from.replace(/^my_/, ""), takenNames(useStore.getState())) : from;
}

function verb(from: string, name: string, there: { shipped: boolean } | undefined): string {
  if (there?.shipped) return "Save and cover the shipped one";
  return there === undefined || name === from ? "Save" : "Replace the file";
}

function consequence(from: string, name: string, there: { shipped: boolean } | undefined): string {
  if (there === undefined) return `A new file, ${name}.json.`;
  if (there.shipped) return `“${name}” comes with Stepgraph: your file will cover it, here and for workflows that call it.`;
  return name === from ? `The file ${name}.json is there already.` : `The file ${name}.json is there already and will be replaced.`;
}

/** Saves, and has the workflow outside call the new file where that is wanted; what went wrong, in words. */
async function saveUnder(from: string, name: string, lead: boolean): Promise<string> {
  const { closeDialog, say, change } = useStore.getState();
  const outer = caller(useStore.getState(), from);
  try {
    await saveAs(from, name, versionOf(useStore.getState(), name));
  } catch (problem) {
    if (!(problem instanceof ApiProblem)) throw problem;
    await useStore.getState().loadWorkflows();
    return problem.status === 412 ? `The file “${name}” was changed by somebody else just now. Look at it, then save again.` : problem.message;
  }
  if (outer && name !== from && lead) {
    change({ edits: [{ op: "set", path: [...outer.path, "path"], value: `${name}.json` }], label: `Call ${name}.json` }, outer.doc);
  }
  closeDialog();
  say("success", `Saved “${name}”.`);
  return "";
}
