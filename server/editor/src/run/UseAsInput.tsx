import { useState } from "react";
import { purposeOfInput } from "../forms/purpose";
import { fileOf, rootDoc } from "../state/documents";
import { type Store, useStore } from "../state/store";

/** An input that takes a picture: of the workflow of the tab, or of another one. */
type Target = { workflow: string; input: string; mask: boolean };

/** Gives a picture to an input of a workflow, for its next run. */
export function UseAsInput({ file }: { file: string }) {
  const targets = targetsOf(useStore());
  const [at, setAt] = useState(0);
  const target = targets[at];
  if (target === undefined) return null;
  return (
    <div className="row">
      <select
        aria-label="Input that gets the picture"
        value={at}
        onChange={(event) => setAt(Number(event.target.value))}
      >
        {targets.map(({ workflow, input }, number) => (
          <option key={`${workflow} ${input}`} value={number}>
            {workflow}: {input}
          </option>
        ))}
      </select>
      <button className="run-use" onClick={() => void give(file, target)}>
        Use as input
      </button>
    </div>
  );
}

async function give(file: string, { workflow, input }: Target): Promise<void> {
  const { open, change, closeDialog, say } = useStore.getState();
  try {
    closeDialog();
    await open(workflow);
    change({ values: { [input]: `file:${file}` }, label: `Use a picture as ${input}` }, workflow);
    say("success", `The next run of ${workflow} gets the picture as its ${input}.`);
  } catch (problem) {
    say("error", (problem as Error).message);
  }
}

/** Inputs of the workflow of the tab first, then those of all others; pictures before masks. */
function targetsOf(state: Store): Target[] {
  const here = rootDoc(state);
  const own = here ? inputsOf(state, here.name) : [];
  const others = state.workflows.filter((one) => one.name !== here?.name).flatMap((one) => inputsOf(state, one.name));
  return [...own, ...others.filter(({ mask }) => !mask), ...others.filter(({ mask }) => mask)];
}

function inputsOf(state: Store, workflow: string): Target[] {
  const doc = state.docs[workflow];
  const file = doc && fileOf(doc);
  const declared = file?.inputs ?? state.workflows.find((one) => one.name === workflow)?.inputs ?? {};
  return Object.entries(declared).flatMap(([name, one]) => {
    const purpose = purposeOfInput(file, { name, type: one.type ?? "any", help: one.description }, state.catalog);
    return purpose === "picture" || purpose === "mask" ? [{ workflow, input: name, mask: purpose === "mask" }] : [];
  });
}
