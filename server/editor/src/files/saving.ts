/** Saving: exactly the text of the document goes to the server, and nobody's change is overwritten unseen. */

import { ApiProblem, api } from "../api/client";
import { begin } from "../document/history";
import { type Doc, type Tab, currentCrumb, currentDoc, isDirty, textOf } from "../state/documents";
import { type Store, useStore } from "../state/store";
import { useClashes } from "./clashes";
import { inTurn, look, review } from "./disk";

const CHANGED = 412;

/** Saves the document that is shown; asks for a name where it has none of its own. */
export async function saveShown(): Promise<void> {
  const doc = currentDoc(useStore.getState());
  if (doc !== undefined) await saveOrAsk(doc);
}

async function saveOrAsk(doc: Doc): Promise<void> {
  const { openDialog, say } = useStore.getState();
  if (useClashes.getState().clashes[doc.name]) review(doc.name);
  else if (doc.saved === null || doc.shipped) openDialog("save", { name: doc.name });
  else if (!isDirty(doc)) say("info", `“${doc.name}” has no unsaved changes.`);
  else if (await save(doc.name)) say("success", `Saved “${doc.name}”.`);
}

/** Saves all documents with changes; stops at the first that needs a name. */
export async function saveAll(): Promise<void> {
  for (const doc of Object.values(useStore.getState().docs).filter(isDirty)) {
    await saveOrAsk(doc);
    if (useStore.getState().dialog !== null) return;
  }
}

/** Saves a document under its name; whether that was done. A file that changed meanwhile is merged first, or asked about. */
export function save(name: string): Promise<boolean> {
  return inTurn(name, async () => (await stored(name)) || ((await merged(name)) && stored(name)));
}

async function stored(name: string): Promise<boolean> {
  const doc = useStore.getState().docs[name];
  if (doc === undefined) return false;
  const text = textOf(doc);
  try {
    const version = await api.save(name, text, doc.version);
    kept(name, text, version);
    return true;
  } catch (problem) {
    if (problem instanceof ApiProblem && problem.status === CHANGED) return false;
    throw problem;
  }
}

async function merged(name: string): Promise<boolean> {
  const outcome = await look(name);
  const doc = useStore.getState().docs[name];
  if (outcome === "gone" && doc) useStore.getState().openDialog("save", { name });
  return outcome === "merged" || outcome === "same";
}

function kept(name: string, text: string, version: string): void {
  const doc = useStore.getState().docs[name];
  if (doc) useStore.getState().putDoc({ ...doc, saved: text, version, shipped: false });
  listAgain();
}

/** Reads the list of workflows again; who saved need not wait for it. */
function listAgain(): void {
  const { loadWorkflows, say } = useStore.getState();
  loadWorkflows().catch((problem: Error) => say("error", problem.message));
}

/** What stands under a name on the server, as somebody sees it who is about to save there. */
export function versionOf(state: Pick<Store, "workflows">, name: string): string | null {
  const found = state.workflows.find((one) => one.name === name);
  return found ? `"${found.version}"` : null;
}

/**
 * Saves a document under another name, which it then has. `over` is the version of the file that it shall replace; null
 * where there must be none. Rejects with an ApiProblem.
 */
export async function saveAs(from: string, to: string, over: string | null): Promise<void> {
  await inTurn(to, async () => {
    const doc = useStore.getState().docs[from];
    if (doc === undefined) return;
    const text = textOf(doc);
    const version = await api.save(to, text, over);
    const now = useStore.getState().docs[from] ?? doc;
    const saved = { ...now, name: to, saved: text, version, shipped: false };
    useStore.setState((state) => moved(state, from, saved));
    listAgain();
  });
}

/**
 * The tabs and documents after a document got another name. The file of its former name is as it was: other tabs, and
 * files that call it, go on with that one.
 */
export function moved(
  state: Pick<Store, "docs" | "tabs" | "active">,
  from: string,
  doc: Doc,
): Pick<Store, "docs" | "tabs" | "active"> {
  const old = state.docs[from];
  const stays = old !== undefined && old.saved !== null && from !== doc.name;
  const others = state.tabs.filter((tab, at) => at === state.active || tab.crumbs[0]?.doc !== doc.name || from === doc.name);
  const active = others.indexOf(state.tabs[state.active]!);
  const tabs = others.map((tab, at) => (at === active || !stays ? withName(tab, from, doc.name) : tab));
  const used = stays && tabs.some((tab) => tab.crumbs.some((crumb) => crumb.doc === from));
  const { [from]: _, ...docs } = state.docs;
  const kept = used ? { ...docs, [from]: { ...old, history: begin(old.saved!) } } : docs;
  return { docs: { ...kept, [doc.name]: doc }, tabs, active: Math.max(0, active) };
}

function withName(tab: Tab, from: string, to: string): Tab {
  if (!tab.crumbs.some((crumb) => crumb.doc === from)) return tab;
  return { crumbs: tab.crumbs.map((crumb) => (crumb.doc === from ? { ...crumb, doc: to } : crumb)) };
}

/** The node, in the level outside, by which the document that is shown was entered; null for the file of the tab itself. */
export function caller(state: Pick<Store, "tabs" | "active">, name: string): { doc: string; path: string[] } | null {
  const crumbs = state.tabs[state.active]?.crumbs ?? [];
  const at = crumbs.findIndex((crumb) => crumb.doc === name);
  const outer = crumbs[at - 1];
  if (at < 1 || outer === undefined || currentCrumb(state) === undefined) return null;
  return { doc: outer.doc, path: [...outer.body.map(String), "nodes", crumbs[at]!.via.at(-1)!] };
}

/** Gives a file of the server another name. Unsaved changes stay unsaved. Rejects with an ApiProblem. */
export async function rename(from: string, to: string): Promise<void> {
  await inTurn(from, async () => {
    const { text, version } = await api.workflow(from);
    const made = await api.save(to, text, null);
    await api.remove(from, version);
    const doc = useStore.getState().docs[from];
    if (doc) useStore.getState().putDoc({ ...doc, name: to, version: made, saved: text }, from);
    listAgain();
  });
}

/** Removes a file from the server, and its tabs. Rejects with an ApiProblem. */
export async function remove(name: string): Promise<void> {
  await inTurn(name, async () => {
    const version = useStore.getState().docs[name]?.version ?? versionOf(useStore.getState(), name);
    if (version !== null) await api.remove(name, version);
    useStore.setState((state) => without(state, name));
    listAgain();
  });
}

/** The tabs and documents without one. Where others entered it they are back at the level that calls it. */
export function without(state: Pick<Store, "docs" | "tabs" | "active">, name: string): Partial<Store> {
  const before = state.tabs.slice(0, state.active).filter((tab) => tab.crumbs[0]?.doc !== name).length;
  const tabs = state.tabs.filter((tab) => tab.crumbs[0]?.doc !== name).map((tab) => outside(tab, name));
  const { [name]: _, ...docs } = state.docs;
  return { tabs, docs, active: Math.max(0, Math.min(before, tabs.length - 1)), selection: [] };
}

function outside(tab: Tab, name: string): Tab {
  const at = tab.crumbs.findIndex((crumb) => crumb.doc === name);
  return at < 0 ? tab : { crumbs: tab.crumbs.slice(0, at) };
}

/** Takes back all unsaved changes of a document, as one step that can be undone no more. */
export function discard(name: string): void {
  const { docs, putDoc } = useStore.getState();
  const doc = docs[name];
  if (doc === undefined) return;
  if (doc.saved === null) useStore.setState((state) => without(state, name));
  else putDoc({ ...doc, history: begin(doc.saved) });
}
