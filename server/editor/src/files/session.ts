/** What was open last time: tabs with their levels, and unsaved work. */

import { type Tab, isDirty } from "../state/documents";
import { useStore } from "../state/store";
import { type Address, addressOf } from "./address";
import { refresh } from "./disk";
import { type Draft, Drafts, docOf } from "./drafts";
import { enter } from "../state/showNode";
import { named } from "./reconcile";
import { claimWindow, windowsThere } from "./windows";
import { begin } from "../document/history";
import { freeName } from "../document/filenames";
import { takenNames } from "./opening";

const TABS = "stepgraph.tabs";
const KEEP_MILLISECONDS = 300;

type Remembered = { tabs: Address[]; active: number };

/** The tabs of this window before it was loaded again; those of the last one for a new window. */
function rememberedTabs(): Remembered {
  try {
    const text = sessionStorage.getItem(TABS) ?? localStorage.getItem(TABS) ?? "";
    const found = JSON.parse(text) as Partial<Remembered>;
    return { tabs: Array.isArray(found.tabs) ? found.tabs : [], active: Number(found.active ?? 0) };
  } catch {
    return { tabs: [], active: 0 }; // nothing, or nothing of ours
  }
}

function rememberTabs(tabs: readonly Tab[], active: number): void {
  const text = JSON.stringify({ tabs: tabs.flatMap((tab) => addressOf(tab) ?? []), active });
  sessionStorage.setItem(TABS, text);
  localStorage.setItem(TABS, text);
}

/** Opens what was open last time, with what was unsaved. Returns the drafts of this window, to go on with. */
export async function restore(): Promise<Drafts> {
  const drafts = new Drafts(localStorage, await claimWindow());
  const isThere = await windowsThere();
  const found = drafts.find(isThere);
  const { tabs, active } = rememberedTabs();
  const restored = restoreDrafts(found);
  for (const tab of tabs) await reopen(tab, found);
  for (const name of restored) if (!isOpen(name)) await useStore.getState().open(name);
  if (useStore.getState().tabs.length > 0) useStore.getState().show(Math.min(active, useStore.getState().tabs.length - 1));
  drafts.clear(isThere);
  drafts.keep(useStore.getState().docs, Date.now());
  if (restored.length > 0) {
    useStore.getState().say("info", `Unsaved changes of last time are here again: ${named(restored)}.`);
  }
  for (const name of restored) await refresh(name);
  return drafts;
}

function isOpen(name: string): boolean {
  return useStore.getState().tabs.some((tab) => tab.crumbs.some((crumb) => crumb.doc === name));
}

/** Documents of drafts, without tabs yet; their names. Of two drafts of one file the later one has its name. */
function restoreDrafts(found: readonly [string, Draft][]): string[] {
  const names: string[] = [];
  for (const [name, draft] of found) {
    const doc = docOf(name, draft);
    if (doc === null) continue;
    const older = useStore.getState().docs[name];
    if (older) {
      const other = freeName(name, takenNames(useStore.getState()));
      useStore.getState().putDoc({ ...older, name: other, saved: null, version: null, shipped: false });
      names.push(other);
    }
    useStore.getState().putDoc(doc);
    names.push(name);
  }
  return [...new Set(names)];
}

/** Opens a tab of last time, at its level; a file that is gone is told and left out. */
async function reopen({ name, via }: Address, found: readonly [string, Draft][]): Promise<void> {
  const { open, say } = useStore.getState();
  try {
    await open(name);
    await enter(via);
  } catch (problem) {
    return say("info", `${name}: ${(problem as Error).message}`);
  }
  const values = found.findLast(([one, draft]) => one === name && draft.text === null)?.[1].values;
  const doc = useStore.getState().docs[name];
  if (values && doc && !isDirty(doc)) useStore.getState().putDoc({ ...doc, history: begin(doc.saved!, values) });
}

/** Keeps drafts and tabs from now on, as long as the page lives. */
export function keepSession(drafts: Drafts): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let kept = true;
  const keep = () => {
    clearTimeout(timer);
    timer = undefined;
    kept = keepNow(drafts, kept);
  };
  useStore.subscribe((state, before) => {
    if (state.docs === before.docs && state.tabs === before.tabs && state.active === before.active) return;
    timer ??= setTimeout(keep, KEEP_MILLISECONDS);
  });
  // Only what could not be kept is worth a question to those who leave.
  const warn = (event: BeforeUnloadEvent) => {
    keep();
    if (!kept) event.preventDefault();
  };
  window.addEventListener("pagehide", keep);
  window.addEventListener("beforeunload", warn);
}

/** Writes drafts and tabs; whether the browser took them. That it does not is told once. */
function keepNow(drafts: Drafts, before: boolean): boolean {
  const { docs, tabs, active, say } = useStore.getState();
  try {
    drafts.keep(docs, Date.now());
    rememberTabs(tabs, active);
    return true;
  } catch {
    if (before) say("error", "The browser has no more room for unsaved changes: save your work before you leave this page.");
    return false;
  }
}
