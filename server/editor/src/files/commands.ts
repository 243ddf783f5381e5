import type { Command } from "../state/command";
import { type Doc, currentDoc, isDirty } from "../state/documents";
import { type Store, useStore } from "../state/store";
import { download, openFiles, openNew } from "./opening";
import { discard, save, saveAll, saveShown } from "./saving";

const isOpen = (state: Store) => currentDoc(state) !== undefined;
const isOwn = (state: Store) => {
  const doc = currentDoc(state);
  return doc !== undefined && doc.saved !== null && !doc.shipped;
};
const isChanged = (state: Store) => {
  const doc = currentDoc(state);
  return doc !== undefined && isDirty(doc);
};

/** Does something with the name of the document that is shown. */
function withShown(work: (name: string, state: Store) => void): (state: Store) => void {
  return (state) => {
    const doc = currentDoc(state);
    if (doc) work(doc.name, state);
  };
}

const create: Command = { id: "file-new", title: "New", keys: ["Alt+Shift+N"], run: openNew };
const open: Command = { id: "file-open", title: "Open…", keys: ["Ctrl+O"], run: (state) => state.setSide("files") };
const templates: Command = { id: "file-templates", title: "Templates…", run: (state) => state.openDialog("templates") };
const saveFile: Command = { id: "file-save", title: "Save", keys: ["Ctrl+S"], inFields: true, enabled: isOpen, run: saveShown };
const saveAs: Command = {
  id: "file-save-as", title: "Save as…", keys: ["Ctrl+Shift+S"], inFields: true, enabled: isOpen,
  run: withShown((name, state) => state.openDialog("save", { name, copy: true })),
}; // prettier-ignore
const saveEvery: Command = { id: "file-save-all", title: "Save all", enabled: (state) => Object.values(state.docs).some(isDirty), run: saveAll };
const rename: Command = {
  id: "file-rename", title: "Rename…", enabled: isOwn, run: withShown((name, state) => state.openDialog("rename", { name })),
}; // prettier-ignore
const remove: Command = {
  id: "file-delete", title: "Delete…", enabled: isOwn, run: withShown((name, state) => state.openDialog("delete", { name })),
}; // prettier-ignore
const revert: Command = {
  id: "file-revert", title: "Discard changes…", enabled: isChanged,
  run: withShown((name, state) => state.openDialog("discard", { name })),
}; // prettier-ignore
const downloadFile: Command = { id: "file-download", title: "Download", enabled: isOpen, run: withShown(download) };
const importFiles: Command = { id: "file-import", title: "Import a file or picture…", run: chooseFiles };
const json: Command = { id: "file-json", title: "Show the JSON", enabled: isOpen, run: (state) => state.setBottom("json") };
const close: Command = { id: "file-close", title: "Close", keys: ["Alt+W"], enabled: isOpen, run: (state) => closeTab(state.active) };

export const fileCommands: Command[] = [
  create, open, templates, saveFile, saveAs, saveEvery, rename, remove, revert, downloadFile, importFiles, json, close,
]; // prettier-ignore

/** The menu of the bar, with lines between groups. */
export const fileMenu: readonly (readonly Command[])[] = [
  [create, open, templates, importFiles], [saveFile, saveAs, saveEvery, downloadFile], [rename, revert, remove], [json, close],
]; // prettier-ignore

/** Lets somebody choose files of his machine to open. */
function chooseFiles(): void {
  const input = document.createElement("input");
  input.type = "file";
  input.multiple = true;
  input.accept = ".json,.png,.jpg,.jpeg,.webp,application/json,image/*";
  input.onchange = () => void openFiles([...(input.files ?? [])]);
  input.click();
}

/** Documents that would be lost if a tab was closed: those without a file, and those with changes that nothing else shows. */
export function unsavedIn(state: Pick<Store, "tabs" | "docs">, tab: number): Doc[] {
  const elsewhere = new Set(state.tabs.toSpliced(tab, 1).flatMap((one) => one.crumbs.map((crumb) => crumb.doc)));
  const names = new Set(state.tabs[tab]?.crumbs.map((crumb) => crumb.doc) ?? []);
  return [...names].flatMap((name) => {
    const doc = state.docs[name];
    return doc !== undefined && isDirty(doc) && !elsewhere.has(name) ? [doc] : [];
  });
}

/** Closes a tab; asks first where work would be lost. */
export async function closeTab(at: number): Promise<void> {
  const state = useStore.getState();
  const unsaved = unsavedIn(state, at);
  if (unsaved.length === 0) return state.close(at);
  state.show(at);
  state.openDialog("close", { tab: state.tabs[at]!.crumbs[0]!.doc, names: unsaved.map((doc) => doc.name) });
}

/** The tab of a file by its name, closed with its changes thrown away. */
export function closeWithout(tab: string, names: readonly string[]): void {
  names.forEach(discard);
  const at = useStore.getState().tabs.findIndex((one) => one.crumbs[0]?.doc === tab);
  if (at >= 0) useStore.getState().close(at);
}

/** The tab of a file, closed with its changes saved; one that needs a name is asked for, and stays open. */
export async function closeSaved(tab: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const doc = useStore.getState().docs[name];
    if (doc === undefined) continue;
    if (doc.saved === null || doc.shipped) return useStore.getState().openDialog("save", { name });
    if (!(await save(name))) return;
  }
  closeWithout(tab, []);
}

