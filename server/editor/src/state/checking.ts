/** What the server's checker says of the open files. It has the last word on types and mistakes. */

import type { StateCreator } from "zustand";
import { ApiProblem, api } from "../api/client";
import type { Asked, CheckResult, Problem } from "../api/types";
import { type Doc, rootDoc, unsavedFiles } from "./documents";
import type { Store } from "./store";

export type CheckingSlice = {
  /** The last result by document. */
  checks: Readonly<Record<string, CheckResult>>;
  /** Checks a document as it stands, with its unsaved neighbours. */
  check(name: string): Promise<CheckResult | null>;
};

/** Pause after the last change before the checker is asked. */
export const CHECK_MILLISECONDS = 250;

export const createChecking: StateCreator<Store, [], [], CheckingSlice> = (set, get) => ({
  checks: {},

  async check(name) {
    const doc = get().docs[name];
    if (doc === undefined) return null;
    try {
      const result = await api.check({ ...asked(get(), doc), inputs: doc.history.now.values });
      if (get().docs[name]?.history.now !== doc.history.now) return null; // a later check will tell
      set((state) => ({ checks: { ...state.checks, [name]: result } }));
      return result;
    } catch (problem) {
      if (!(problem instanceof ApiProblem)) throw problem;
      if (!problem.unreachable) get().say("error", problem.message);
      return null;
    }
  },
});

/** A document as requests name it, with all texts that the server does not have. */
export function asked(state: Pick<Store, "docs">, doc: Doc): Asked {
  return { workflow: doc.name, files: unsavedFiles(state) };
}

/** The document that is run, as requests name it, with the values for the next run. */
export function askedRun(state: Pick<Store, "docs" | "tabs" | "active">): (Asked & { inputs: NonNullable<Asked["inputs"]> }) | null {
  const doc = rootDoc(state);
  return doc === undefined ? null : { ...asked(state, doc), inputs: { ...doc.history.now.values } };
}

/** The problems of a node by its path from the checked file. Problems of nodes within it count as its own. */
export function problemsOf(check: CheckResult | undefined, path: string): Problem[] {
  return (check?.problems ?? []).filter((one) => one.node === path || one.node.startsWith(`${path}.`));
}
