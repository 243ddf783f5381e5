import type { ReactNode } from "react";
import { Modal } from "../parts/Modal";
import { perform } from "../state/command";
import { useStore } from "../state/store";
import { closeSaved, closeWithout } from "./commands";
import { beginsHere } from "./focus";
import { discard, remove } from "./saving";

type Choice = { title: string; primary?: boolean; run(): void | Promise<void> };

/** A question before something that cannot be taken back. */
function Question({ title, children, choices }: { title: string; children: ReactNode; choices: readonly Choice[] }) {
  const closeDialog = useStore((state) => state.closeDialog);
  const choose = (choice: Choice) => {
    closeDialog();
    void perform({ id: "answer", title: choice.title, run: () => choice.run() });
  };
  return (
    <Modal title={title}>
      <div className="column">
        <p>{children}</p>
        <div className="row dialog-buttons">
          {choices.map((choice) => (
            <button key={choice.title} className={choice.primary ? "primary" : undefined} onClick={() => choose(choice)}>
              {choice.title}
            </button>
          ))}
          <button ref={beginsHere} onClick={closeDialog}>
            Cancel
          </button>
        </div>
      </div>
    </Modal>
  );
}

export function DeleteDialog({ about }: { about: unknown }) {
  const { name } = about as { name: string };
  return (
    <Question title={`Delete “${name}”?`} choices={[{ title: "Delete the file", primary: true, run: () => remove(name) }]}>
      The file {name}.json is removed from the server's workflows. If a shipped workflow has this name, it shows again.
    </Question>
  );
}

export function DiscardDialog({ about }: { about: unknown }) {
  const { name } = about as { name: string };
  return (
    <Question title={`Discard the changes of “${name}”?`} choices={[{ title: "Discard", primary: true, run: () => discard(name) }]}>
      All changes since it was last saved go, and so do the steps of undo.
    </Question>
  );
}

export function CloseDialog({ about }: { about: unknown }) {
  const { tab, names } = about as { tab: string; names: string[] };
  const choices = [
    { title: "Save", primary: true, run: () => closeSaved(tab, names) },
    { title: "Discard", run: () => closeWithout(tab, names) },
  ];
  return (
    <Question title={`Save “${tab}” before it is closed?`} choices={choices}>
      Unsaved: {names.join(", ")}.
    </Question>
  );
}
