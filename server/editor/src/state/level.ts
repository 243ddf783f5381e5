/** The graph of the level that is shown, made anew only when something that it is made of changed. */

import { useMemo } from "react";
import type { WorkflowSummary } from "../api/types";
import type { WorkflowFile } from "../document/workflow";
import { type Graph, type Surroundings, readGraph } from "../graph/graph";
import { type Crumb, type Doc, currentCrumb, currentDoc, fileOf, rootDoc } from "./documents";
import { type Store, useStore } from "./store";

export type Level = { crumb: Crumb; doc: Doc; file: WorkflowFile; graph: Graph };

const EMPTY = {};

/** What the graph of a level is read with. The file that is run is what was checked. */
export function useSurroundings(root: string | undefined, crumb: Crumb | undefined): Surroundings {
  const catalog = useStore((state) => state.catalog);
  const summaries = useStore((state) => state.workflows);
  const docs = useStore((state) => state.docs);
  const check = useStore((state) => state.checks[root ?? ""]);
  const prefix = crumb ? crumb.via.slice(0, crumb.via.length - crumb.body.length / 3).join(".") : "";
  return useMemo(() => {
    const inputTypes = (prefix ? check?.types?.[prefix]?.inputs : check?.inputs) ?? EMPTY;
    return { catalog, workflows: known(summaries, docs), types: check?.types ?? EMPTY, inputTypes, prefix };
  }, [catalog, summaries, docs, check, prefix]);
}

/** Workflows as they stand: those of the server, covered by those that are open here. */
function known(summaries: readonly WorkflowSummary[], docs: Store["docs"]): Surroundings["workflows"] {
  const made = new Map<string, Pick<WorkflowSummary, "title" | "description" | "inputs" | "outputs">>(
    summaries.map((one) => [one.name, one]),
  );
  for (const doc of Object.values(docs)) made.set(doc.name, summarise(fileOf(doc)));
  return made;
}

function summarise(file: WorkflowFile): Pick<WorkflowSummary, "title" | "description" | "inputs" | "outputs"> {
  const inputs = Object.entries(file.inputs ?? {}).map(([name, one]) => [name, {
    type: one.type ?? "any", required: !("default" in one), default: one.default ?? null,
    description: one.description ?? "", minimum: one.minimum ?? null, maximum: one.maximum ?? null, enum: one.enum ?? null,
  }] as const); // prettier-ignore
  return {
    title: file.title ?? "", description: file.description ?? "",
    inputs: Object.fromEntries(inputs), outputs: Object.keys(file.outputs ?? {}),
  }; // prettier-ignore
}

/** The level that is shown; null while no file is open. */
export function useLevel(): Level | null {
  const crumb = useStore(currentCrumb);
  const doc = useStore(currentDoc);
  const root = useStore((state) => rootDoc(state)?.name);
  const around = useSurroundings(root, crumb);
  return useMemo(() => {
    if (crumb === undefined || doc === undefined) return null;
    const file = fileOf(doc);
    return { crumb, doc, file, graph: readGraph(file, crumb.body, around) };
  }, [crumb, doc, around]);
}
