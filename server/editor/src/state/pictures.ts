/** Opening what made a picture, from the picture's own metadata. */

import { ApiProblem, api } from "../api/client";
import { same } from "../document/edit";
import { nameOfFile } from "../document/filenames";
import type { Change } from "../document/history";
import { type Provenance, readProvenance } from "../document/png";
import { filesOf } from "../document/record";
import { type Json, parse, valueOf } from "../document/syntax";
import type { WorkflowFile } from "../document/workflow";
import { textOf } from "./documents";
import { type Store, useStore } from "./store";

/** Opens the workflow of a PNG picture in a tab, with the inputs that it was made with. Rejects with a PngProblem. */
export async function openPicture(picture: Blob, from: string): Promise<void> {
  await openRecord(await readProvenance(new Uint8Array(await picture.arrayBuffer())), from);
}

/** Opens what made a picture: its workflow with its inputs, and the files it calls where those here are others. */
export async function openRecord(record: Provenance, from: string): Promise<void> {
  const known = await knownTexts(Object.keys(record.files).map(nameOfFile));
  const [main, ...called] = filesOf(record, known, takenNames(useStore.getState()));
  const { openText, open, change, say } = useStore.getState();
  for (const one of called) openText(one.name, one.text);
  const values = ownValues(record);
  if (main!.kept) {
    await open(main!.name);
    change({ values, label: `Inputs of ${from}` }, main!.name);
  } else openText(main!.name, main!.text, given(values));
  const others =
    called.length > 0
      ? ` It calls other versions of files than those here: ${called.map((one) => one.name).join(", ")}.`
      : "";
  say("success", `Opened the workflow of ${from}, with its inputs.${others}`);
}

/** Names that no new document may take. */
export function takenNames(state: Pick<Store, "workflows" | "docs">): Set<string> {
  return new Set([...state.workflows.map((one) => one.name), ...Object.keys(state.docs)]);
}

/** The texts that names stand for now: of open documents as they are here, else of the server. */
async function knownTexts(names: readonly string[]): Promise<Record<string, string>> {
  const found = await Promise.all(names.map(async (name) => [name, await textNow(name)] as const));
  return Object.fromEntries(found.filter((one): one is [string, string] => one[1] !== null));
}

async function textNow(name: string): Promise<string | null> {
  const doc = useStore.getState().docs[name];
  if (doc) return textOf(doc);
  try {
    return (await api.workflow(name)).text;
  } catch (problem) {
    if (problem instanceof ApiProblem && problem.status === 404) return null;
    throw problem;
  }
}

type Values = NonNullable<Change["values"]>;

/** A value for every input of the workflow: undefined where it was what the file itself says. */
function ownValues(record: Provenance): Values {
  const declared = (valueOf(parse(record.files[record.workflow]!).root) as WorkflowFile).inputs ?? {};
  const entries = Object.entries(declared).map(([name, { default: own = null }]) => {
    const value = record.inputs[name];
    return [name, value === undefined || same(own, value) ? undefined : value] as const;
  });
  return Object.fromEntries(entries);
}

function given(values: Values): Record<string, Json> {
  return Object.fromEntries(Object.entries(values).filter((entry): entry is [string, Json] => entry[1] !== undefined));
}
