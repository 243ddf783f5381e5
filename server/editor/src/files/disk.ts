/** The open files follow those on the server's disk. */

import { ApiProblem, api, type Stored } from "../api/client";
import { levelAt } from "../graph/graph";
import { type Doc, currentCrumb, fileOf, isDirty } from "../state/documents";
import { useStore } from "../state/store";
import { useClashes } from "./clashes";
import { remaining } from "./levels";
import { type Choice, type Clash, type Outcome, baseOf, named, orphaned, reconcile, resolve } from "./reconcile";

/** Texts of open files that went from the disk: what they are merged with when they come back. */
const lost = new Map<string, string>();

/** What is being done to files now, by name: the next one waits, so that none sees another half done. */
const queues = new Map<string, Promise<unknown>>();

/** Does something with a file of the server when everything before it is done. */
export function inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
  const before = queues.get(name) ?? Promise.resolve();
  const made = before.then(work, work);
  const settled = made.catch(() => undefined); // whoever asked is told
  queues.set(name, settled);
  void settled.then(() => queues.get(name) === settled && queues.delete(name));
  return made;
}

/** Programs that save a file by replacing it have none there for a moment. */
const GONE_MILLISECONDS = 400;

/** Looks at the file of an open document again. Rejects with an ApiProblem. */
export function refresh(name: string): Promise<Outcome["kind"] | "gone" | null> {
  return inTurn(name, () => look(name));
}

/** As `refresh`, for who has the file's turn already. */
export async function look(name: string): Promise<Outcome["kind"] | "gone" | null> {
  if (baseNow(name) === null) return null; // nothing of it was ever on the disk: its name is looked at when it is saved
  const stored = (await read(name)) ?? (await later(name));
  const doc = useStore.getState().docs[name];
  const base = baseNow(name);
  if (doc === undefined || base === null) return null;
  if (stored === null) return lose(doc);
  const outcome = reconcile(doc, stored, base, Date.now());
  settle(name, outcome);
  return outcome.kind;
}

function baseNow(name: string): string | null {
  const doc = useStore.getState().docs[name];
  return doc === undefined ? null : baseOf(doc, lost);
}

async function later(name: string): Promise<Stored | null> {
  await new Promise((resolve) => setTimeout(resolve, GONE_MILLISECONDS));
  await useStore.getState().loadWorkflows();
  return read(name);
}

/** A file of the list of workflows; null where that has none of the name. */
async function read(name: string): Promise<Stored | null> {
  if (!useStore.getState().workflows.some((one) => one.name === name)) return null;
  try {
    return await api.workflow(name);
  } catch (problem) {
    if (problem instanceof ApiProblem && problem.status === 404) return null; // it went just now
    throw problem;
  }
}

function lose(doc: Doc): "gone" {
  if (doc.saved === null) return "gone";
  lost.set(doc.name, doc.saved);
  useStore.getState().putDoc(orphaned(doc));
  useStore.getState().say("info", `“${doc.name}” is gone from the disk. It stays open here; save it to have it again.`);
  return "gone";
}

function settle(name: string, outcome: Outcome): void {
  const { say, messages, dismiss } = useStore.getState();
  const unreadable = `“${name}” on the disk is no JSON any more`;
  messages.filter((one) => one.text.startsWith(unreadable)).forEach((one) => dismiss(one.id));
  if (outcome.kind === "clash") return clash(outcome.clash);
  if (outcome.kind === "unreadable") return say("error", `${unreadable} (${outcome.message}). Here stays what it was.`);
  useClashes.getState().drop(name);
  const before = useStore.getState().docs[name];
  putBack(outcome.doc);
  if (outcome.kind === "merged") {
    const whose = `Merged changes from the disk into “${name}”${told(outcome.changes)}.`;
    say("success", `${whose} Yours are kept, and not saved yet.`);
  } else if (outcome.kind === "taken") say("info", `“${name}” changed on the disk${told(outcome.changes)}.`);
  else if (before && isDirty(before) && !isDirty(outcome.doc)) say("info", `“${name}” is on the disk as it is here.`);
}

function told(changes: readonly string[]): string {
  return changes.length > 0 ? `: ${named(changes)}` : "";
}

function clash(found: Clash): void {
  useClashes.getState().put(found);
  const { dialog, openDialog, say } = useStore.getState();
  if (dialog === null || dialog.name === "merge") openDialog("merge", { name: found.name });
  else say("error", `“${found.name}” changed on the disk where you changed it too; its tab shows what to decide.`);
}

/** Asks about a file that changed on both sides, as it is here now: somebody may have gone on since it was found. */
export function review(name: string): void {
  const found = useClashes.getState().clashes[name];
  const doc = useStore.getState().docs[name];
  const base = baseNow(name);
  if (found && doc && base !== null) settle(name, reconcile(doc, found.stored, base, Date.now()));
}

/** Puts what somebody decided into the document, to be saved. */
export function decide(found: Clash, choices: readonly Choice[]): void {
  const doc = useStore.getState().docs[found.name];
  useClashes.getState().drop(found.name);
  if (doc) putBack(resolve(doc, found, choices, Date.now()));
}

/** A changed document, with the levels and the selection that it still has. */
export function putBack(doc: Doc): void {
  lost.delete(doc.name);
  useStore.getState().putDoc(doc);
  const state = useStore.getState();
  const tabs = remaining(state.tabs, doc.name, doc.history.now.tree.root);
  const crumb = currentCrumb({ tabs, active: state.active });
  const shown = crumb && state.docs[crumb.doc];
  const nodes = shown && levelAt(fileOf(shown), crumb.body)?.nodes;
  const selection = state.selection.filter((id) => id.startsWith("@") || nodes?.[id] !== undefined);
  useStore.setState({
    ...(tabs.some((tab, at) => tab !== state.tabs[at]) && { tabs }),
    ...(selection.length < state.selection.length && { selection }),
  });
}
