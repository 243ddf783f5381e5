import { type FormEvent, useState } from "react";
import { ApiProblem } from "../api/client";
import { nameProblem } from "../document/filenames";
import { Modal } from "../parts/Modal";
import { useStore } from "../state/store";
import { NameField } from "./NameField";
import { takenNames } from "./opening";
import { rename } from "./saving";

/** Asks for another name of a file. */
export default function RenameDialog({ about }: { about: unknown }) {
  const { name: from } = about as { name: string };
  const [name, setName] = useState(from);
  const [problem, setProblem] = useState("");
  const taken = useStore((state) => name !== from && takenNames(state).has(name));
  const closeDialog = useStore((state) => state.closeDialog);
  const wrong = nameProblem(name) || (taken && `There is a workflow “${name}” already.`) || problem;
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (wrong) return;
    try {
      if (name !== from) await rename(from, name);
      closeDialog();
    } catch (refused) {
      if (!(refused instanceof ApiProblem)) throw refused;
      setProblem(refused.message);
    }
  };
  return (
    <Modal title={`Rename “${from}”`}>
      <form className="column" onSubmit={(event) => void submit(event)}>
        <NameField
          value={name}
          wrong={wrong}
          hint={`Workflows and programs that use ${from}.json by its name will not find it any more.`}
          onChange={(value) => {
            setName(value);
            setProblem("");
          }}
        />
        <div className="row dialog-buttons">
          <button type="submit" className="primary" disabled={wrong !== ""}>
            Rename
          </button>
        </div>
      </form>
    </Modal>
  );
}
