/** The open files: their histories, and what the server holds of them. */

import type { StateCreator } from "zustand";
import { api } from "../api/client";
import { type Path, nodeAt } from "../document/edit";
import * as histories from "../document/history";
import { type Json, valueOf, write } from "../document/syntax";
import type { WorkflowFile } from "../document/workflow";
import type { Store } from "./store";

/** One open file. */
export type Doc = {
  name: string;
  history: histories.History;
  /** The text on the server that this was made from; null for one that was never saved. */
  saved: string | null;
  version: string | null;
  shipped: boolean;
};

/**
 * One step of the way into a file: the level of a document that is shown. `via` names the nodes on the way from the
 * file that is run, so that `[...via, node].join(".")` is the path of a node in events and problems.
 */
export type Crumb = { doc: string; body: Path; via: readonly string[] };
/** A tab shows the last of its crumbs; the first is the file that is run. */
export type Tab = { crumbs: Crumb[] };

export type DocumentsSlice = {
  docs: Readonly<Record<string, Doc>>;
  tabs: readonly Tab[];
  active: number;
  selection: readonly string[];

  /** Opens a file of the server, or shows it if it is open. Rejects with an ApiProblem. */
  open(name: string): Promise<void>;
  /** Reads a file of the server without a tab, as for a sub-workflow that is entered. */
  load(name: string): Promise<void>;
  /** Opens a text that is no file of the server yet. */
  openText(name: string, text: string, values?: Record<string, Json>): void;
  close(tab: number): void;
  show(tab: number): void;
  /** Enters the body of a loop or map of the level that is shown. */
  enterBody(node: string): void;
  /** Enters the file that a workflow node of the level that is shown calls. Rejects with an ApiProblem. */
  enterFile(node: string, name: string): Promise<void>;
  leaveTo(depth: number): void;
  select(ids: readonly string[]): void;

  /** Changes the document of the level that is shown, or another one. One call is one step of undo. */
  change(change: histories.Change, doc?: string): void;
  undo(): void;
  redo(): void;
  /** Puts a document's state; for what files do (saved, renamed, changed on the disk). */
  putDoc(doc: Doc, formerName?: string): void;
};

export const createDocuments: StateCreator<Store, [], [], DocumentsSlice> = (set, get) => ({
  docs: {},
  tabs: [],
  active: 0,
  selection: [],

  async load(name) {
    if (get().docs[name]) return;
    const { text, version } = await api.workflow(name);
    const shipped = get().workflows.find((one) => one.name === name)?.shipped ?? false;
    const doc = { name, history: histories.begin(text), saved: text, version, shipped };
    set((state) => ({ docs: { ...state.docs, [name]: doc } }));
  },

  async open(name) {
    const at = get().tabs.findIndex((tab) => tab.crumbs[0]?.doc === name);
    if (at >= 0) return get().show(at);
    await get().load(name);
    set((state) => withTab(state, name));
  },

  openText(name, text, values = {}) {
    const doc = { name, history: histories.begin(text, values), saved: null, version: null, shipped: false };
    set((state) => ({ docs: { ...state.docs, [name]: doc }, ...withTab(state, name) }));
  },

  close(tab) {
    set((state) => {
      const tabs = state.tabs.toSpliced(tab, 1);
      const used = new Set(tabs.flatMap((one) => one.crumbs.map((crumb) => crumb.doc)));
      const kept = Object.entries(state.docs).filter(([name, doc]) => used.has(name) || (isDirty(doc) && doc.saved !== null));
      const active = Math.max(0, Math.min(state.active - (tab < state.active ? 1 : 0), tabs.length - 1));
      return { tabs, active, docs: Object.fromEntries(kept), selection: [] };
    });
  },

  show: (tab) => set({ active: tab, selection: [] }),
  enterBody(node) {
    const at = currentCrumb(get());
    if (at) set((state) => deeper(state, { ...at, body: [...at.body, "nodes", node, "body"], via: [...at.via, node] }));
  },
  async enterFile(node, name) {
    const at = currentCrumb(get());
    if (at === undefined) return;
    await get().load(name);
    set((state) => deeper(state, { doc: name, body: [], via: [...at.via, node] }));
  },
  leaveTo: (depth) =>
    set((state) => ({ ...crumbs(state, currentTab(state).crumbs.slice(0, depth + 1)), selection: [] })),
  select: (ids) => set({ selection: ids }),

  change(change, doc = currentCrumb(get())?.doc) {
    if (doc === undefined) return;
    set((state) => edited(state, doc, (history) => histories.apply(history, change, Date.now())));
  },
  undo: () => set((state) => stepped(state, histories.undo)),
  redo: () => set((state) => stepped(state, histories.redo)),

  putDoc(doc, formerName) {
    set((state) => {
      const { [formerName ?? doc.name]: _, ...others } = state.docs;
      const tabs = formerName === undefined ? state.tabs : state.tabs.map((tab) => renamed(tab, formerName, doc.name));
      return { docs: { ...others, [doc.name]: doc }, tabs };
    });
  },
});

function withTab(state: Store, name: string): Pick<Store, "tabs" | "active" | "selection"> {
  const tabs = [...state.tabs, { crumbs: [{ doc: name, body: [], via: [] }] }];
  return { tabs, active: tabs.length - 1, selection: [] };
}

function renamed(tab: Tab, from: string, to: string): Tab {
  return { crumbs: tab.crumbs.map((crumb) => (crumb.doc === from ? { ...crumb, doc: to } : crumb)) };
}

function deeper(state: Store, crumb: Crumb): Pick<Store, "tabs" | "selection"> {
  return { ...crumbs(state, [...currentTab(state).crumbs, crumb]), selection: [] };
}

function crumbs(state: Store, made: Crumb[]): Pick<Store, "tabs"> {
  return { tabs: state.tabs.map((tab, at) => (at === state.active ? { crumbs: made } : tab)) };
}

const NO_TAB: Tab = { crumbs: [] };

export function currentTab(state: Pick<Store, "tabs" | "active">): Tab {
  return state.tabs[state.active] ?? NO_TAB;
}

/** The level that is shown. */
export function currentCrumb(state: Pick<Store, "tabs" | "active">): Crumb | undefined {
  return currentTab(state).crumbs.at(-1);
}

/** The path of a node of a level from the file that is run: `denoise.loop.step`. */
export function runPath(crumb: Crumb, node: string): string {
  return [...crumb.via, node].join(".");
}

/** The document of the level that is shown. */
export function currentDoc(state: Pick<Store, "tabs" | "active" | "docs">): Doc | undefined {
  return state.docs[currentCrumb(state)?.doc ?? ""];
}

/** The document that is run: that of the tab's first crumb. */
export function rootDoc(state: Pick<Store, "tabs" | "active" | "docs">): Doc | undefined {
  return state.docs[currentTab(state).crumbs[0]?.doc ?? ""];
}

export function textOf(doc: Doc): string {
  return write(doc.history.now.tree);
}

export function fileOf(doc: Doc): WorkflowFile {
  return valueOf(doc.history.now.tree.root) as WorkflowFile;
}

export function isDirty(doc: Doc): boolean {
  return doc.saved !== textOf(doc);
}

/** The texts that differ from the server's, by file name: what a request has to bring along. */
export function unsavedFiles(state: Pick<Store, "docs">): Record<string, string> {
  const unsaved = Object.values(state.docs).filter(isDirty);
  return Object.fromEntries(unsaved.map((doc) => [`${doc.name}.json`, textOf(doc)]));
}

function edited(
  state: Store,
  name: string,
  change: (history: histories.History) => histories.History,
): Partial<Store> {
  const doc = state.docs[name];
  if (doc === undefined) return {};
  const history = change(doc.history);
  return history === doc.history ? {} : { docs: { ...state.docs, [name]: { ...doc, history } } };
}

/** Undo and redo, for the document that is shown; a level that is gone then is left. */
function stepped(state: Store, step: (history: histories.History) => histories.History): Partial<Store> {
  const crumb = currentCrumb(state);
  if (crumb === undefined) return {};
  const made = edited(state, crumb.doc, step);
  const root = made.docs?.[crumb.doc]?.history.now.tree.root;
  if (root === undefined || nodeAt(root, crumb.body)) return made;
  const tab = currentTab(state).crumbs;
  const there = tab.filter((one) => one.doc !== crumb.doc || nodeAt(root, one.body));
  return { ...made, ...crumbs(state, there), selection: [] };
}
