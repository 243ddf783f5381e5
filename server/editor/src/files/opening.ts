/** Files from elsewhere (dropped, pasted, imported) as documents. Texts are kept to the byte. */

import { type Stored, api } from "../api/client";
import { layOutFile } from "../document/canonical";
import { freeName, nameOfFile } from "../document/filenames";
import { begin } from "../document/history";
import { PngProblem, isPng } from "../document/png";
import { type Json, parse, valueOf, write } from "../document/syntax";
import type { WorkflowFile } from "../document/workflow";
import { rootDoc, textOf } from "../state/documents";
import { openPicture as openMaker, takenNames } from "../state/pictures";
import { type Store, useStore } from "../state/store";
import { whyUnreadable } from "./reconcile";

export { takenNames };

const MEGABYTE = 2 ** 20;
const LARGEST_TEXT = 8 * MEGABYTE;
const LARGEST_PICTURE = 64 * MEGABYTE;

/** A new workflow without nodes. */
export function openNew(): void {
  const state = useStore.getState();
  const empty = write(layOutFile(parse('{"stepgraph": 1, "title": "", "inputs": {}, "nodes": {}, "outputs": {}}')));
  state.openText(freeName("untitled", takenNames(state)), empty);
}

/** Opens a file of the server. One that is no JSON is shown with its mistake, to be repaired. */
export async function openListed(name: string): Promise<void> {
  const { docs, open, openDialog } = useStore.getState();
  if (docs[name] === undefined) {
    const stored = await api.workflow(name);
    if (whyUnreadable(stored.text)) return openDialog("broken", { file: `${name}.json`, text: stored.text, stored });
  }
  await open(name);
}

/** Opens a repaired file of the server, as a change of it that is not saved yet. */
export async function openRepaired(name: string, text: string, stored: Stored): Promise<void> {
  const { putDoc, open } = useStore.getState();
  putDoc({ name, history: begin(text), saved: stored.text, version: stored.version, shipped: false });
  await open(name);
}

/** Opens files that somebody dropped or chose, one after the other; what cannot be opened is told. */
export async function openFiles(files: readonly File[]): Promise<void> {
  for (const file of files) {
    try {
      await openFile(file);
    } catch (problem) {
      useStore.getState().say("error", `${file.name}: ${problem instanceof Error ? problem.message : String(problem)}`);
    }
  }
}

async function openFile(file: File): Promise<void> {
  const start = new Uint8Array(await file.slice(0, 16).arrayBuffer());
  const kind = kindOf(start);
  const most = kind === "text" ? LARGEST_TEXT : LARGEST_PICTURE;
  if (file.size > most) throw new Error(`it has ${megabytes(file.size)}; ${megabytes(most)} are the most.`);
  if (file.size === 0) throw new Error("the file is empty.");
  if (kind === "png") await openPicture(file);
  else if (kind === "picture") offer(file, "Only PNG pictures hold the workflow that made them; JPEG and WebP have no place for it.");
  else openTextOf(file.name, await textOfFile(file));
}

function megabytes(bytes: number): string {
  return `${(bytes / MEGABYTE).toFixed(bytes < 10 * MEGABYTE ? 1 : 0)} MB`;
}

/** What a file is, by its first bytes: its name says nothing. */
export function kindOf(start: Uint8Array): "png" | "picture" | "text" {
  if (isPng(start)) return "png";
  if (start[0] === 0xff && start[1] === 0xd8 && start[2] === 0xff) return "picture";
  const letters = String.fromCharCode(...start);
  return letters.startsWith("RIFF") && letters.slice(8, 12) === "WEBP" ? "picture" : "text";
}

async function textOfFile(file: File): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await file.arrayBuffer());
  } catch {
    throw new Error("it is neither a picture (PNG, JPEG, WebP) nor a text; workflows are JSON files or PNG pictures.");
  }
}

/** Opens the text of a workflow. One that is no JSON is shown with its mistake, to be repaired. */
export function openTextOf(file: string, text: string): void {
  const state = useStore.getState();
  if (whyUnreadable(text)) return state.openDialog("broken", { file, text });
  if (!isWorkflow(text)) {
    throw new Error('it is JSON, but no workflow: a workflow is an object with "stepgraph" and "nodes".');
  }
  const same = Object.values(state.docs).find((doc) => textOf(doc) === text);
  if (same) return void state.open(same.name);
  state.openText(freeName(nameOfFile(file), takenNames(state)), text);
}

/** Whether a text is JSON of a whole workflow, and not of a part of one, as the canvas copies it. */
export function isWorkflow(text: string): boolean {
  if (!text.includes('"nodes"') || whyUnreadable(text)) return false;
  const file = valueOf(parse(text).root);
  if (file === null || typeof file !== "object" || Array.isArray(file)) return false;
  return typeof file.stepgraph === "number" && file.nodes !== null && typeof file.nodes === "object";
}

async function openPicture(file: File): Promise<void> {
  try {
    await openMaker(file, file.name);
  } catch (problem) {
    if (!(problem instanceof PngProblem)) throw problem;
    offer(file, problem.message);
  }
}

/** A picture that holds no workflow may be wanted as the input of one. */
function offer(file: File, why: string): void {
  useStore.getState().openDialog("use-picture", { file, why });
}

/** The inputs of the workflow that is run that take a picture's file. */
export function pictureInputs(state: Store): string[] {
  const doc = rootDoc(state);
  const inputs = doc ? (valueOf(doc.history.now.tree.root) as WorkflowFile).inputs : undefined;
  return Object.entries(inputs ?? {}).flatMap(([name, one]) => (takesPicture(name, one.type, one.default) ? [name] : []));
}

function takesPicture(name: string, type: string | undefined, given: Json | undefined): boolean {
  if (type !== "path") return false;
  if (typeof given === "string" && /\.(png|jpe?g|webp)$/i.test(given)) return true;
  return /image|picture|mask|map|photo/i.test(name);
}

/** Uploads a picture and gives it to an input of the workflow that is run, opening one first where `open` names it. */
export async function usePicture(file: File, input: string, open?: string): Promise<void> {
  const { id } = await api.upload(file, file.name);
  if (open !== undefined) await useStore.getState().open(open);
  const doc = rootDoc(useStore.getState());
  useStore.getState().change({ values: { [input]: `file:${id}` }, label: `Use ${file.name}` }, doc?.name);
  useStore.getState().say("success", `${file.name} is the ${input} of the next run.`);
}

/** Gives a document's text to the browser as a file. */
export function download(name: string): void {
  const doc = useStore.getState().docs[name];
  if (doc === undefined) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([textOf(doc)], { type: "application/json" }));
  link.download = `${name}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
