/** The run that the timeline and the inspector look at: that of the tab, or without one what the next run would be. */

import { useEffect, useMemo } from "react";
import type { Asked } from "../api/types";
import { type Json, valueOf, write } from "../document/syntax";
import type { WorkflowFile } from "../document/workflow";
import { type Files, type Scope, calledFiles, rootScope } from "../graph/scope";
import { fileOf, rootDoc, textOf, unsavedFiles } from "../state/documents";
import { isActive, shownRun } from "../state/runs";
import { useStore } from "../state/store";

export type Looked = {
  asked: Asked & { inputs: Record<string, Json> };
  /** Equal for requests that are equal. */
  signature: string;
  root: Scope;
  files: Files;
  /** The text of a file on the way. */
  text: (name: string) => string | undefined;
  /** The job that is shown; null where there is none. */
  job: string | null;
  /** Whether it still waits or runs. */
  active: boolean;
};

export function useLooked(): Looked | null {
  const name = useStore((state) => rootDoc(state)?.name);
  const docs = useStore((state) => state.docs);
  const job = useStore((state) => shownRun(state)?.job.id ?? null);
  const tree = useStore((state) => shownRun(state)?.tree ?? null);
  const inputs = useStore((state) => shownRun(state)?.job.inputs ?? null);
  const active = useStore((state) => isActive(shownRun(state)?.job ?? { state: "succeeded" }));
  const looked = useMemo(() => {
    const doc = docs[name ?? ""];
    if (doc === undefined) return null;
    const own = tree ? write(tree) : textOf(doc);
    const file = tree ? (valueOf(tree.root) as WorkflowFile) : fileOf(doc);
    const files: Files = (other) => (other === doc.name ? file : docs[other] && fileOf(docs[other]));
    const text = (other: string) => (other === doc.name ? own : docs[other] && textOf(docs[other]));
    const unsaved = unsavedFiles({ docs });
    const asked = {
      workflow: doc.name, inputs: inputs ?? { ...doc.history.now.values },
      files: own === doc.saved ? unsaved : { ...unsaved, [`${doc.name}.json`]: own },
    }; // prettier-ignore
    return { asked, signature: JSON.stringify(asked), root: rootScope(doc.name, file), files, text };
  }, [name, docs, tree, inputs]);
  useCalledFiles(looked);
  return useMemo(() => looked && { ...looked, job, active }, [looked, job, active]);
}

/** Reads the files that the workflow calls. What is not there, the checker tells. */
function useCalledFiles(looked: { root: Scope; files: Files } | null): void {
  const missing = looked ? calledFiles(looked.root, looked.files).filter((name) => looked.files(name) === undefined).join(" ") : "";
  const load = useStore((state) => state.load);
  useEffect(() => {
    for (const name of missing.split(" ").filter(Boolean)) load(name).catch(() => undefined);
  }, [missing, load]);
}
