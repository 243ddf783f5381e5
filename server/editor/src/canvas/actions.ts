/** What commands do to the level that is shown. Each is one step of undo. */

import { flushSync } from "react-dom";
import type { Change } from "../document/history";
import { type Layout, type Point, isReference } from "../document/workflow";
import { copy, paste } from "../graph/clipboard";
import { disconnect, moveNodes, removeAll, renameNode, setEntry, setLayout } from "../graph/edits";
import { type GraphNode, INPUTS, OUTPUTS, type Port, levelAt } from "../graph/graph";
import { freeName } from "../graph/names";
import { runPath } from "../state/documents";
import { useStore } from "../state/store";
import { canvas, shownLevel, tell } from "./canvasState";
import { type FlowNode, frameId, named, noteId } from "./flow";
import { positionsOf, unwritten } from "./placement";

/** Several changes as one step. */
export function combined(label: string, changes: readonly Change[], group?: string): Change {
  return {
    edits: changes.flatMap((one) => one.edits ?? []), values: Object.assign({}, ...changes.map((one) => one.values ?? {})), label,
    ...(group !== undefined && { group }),
  }; // prettier-ignore
}

export function layoutNow(): Layout {
  const { file, crumb } = shownLevel();
  return levelAt(file, crumb.body)?.layout ?? {};
}

function change(made: Change): void {
  useStore.getState().change(made, shownLevel().doc.name);
}

/** The nodes of the file that are selected; the ends of the level are none. */
export function selectedNodes(): GraphNode[] {
  const chosen = new Set(useStore.getState().selection);
  return canvas.get().level?.graph.nodes.filter((node) => chosen.has(node.id)) ?? [];
}

export function selectedNames(): string[] {
  return selectedNodes().flatMap((node) => (node.entry === null ? [] : [node.id]));
}

export function removeSelected(): void {
  const { crumb, graph } = shownLevel();
  const names = selectedNames();
  const gone = new Set(names);
  const chosen = new Set(canvas.get().links);
  const links = graph.links.filter((one) => chosen.has(one.id) && !gone.has(one.from) && !gone.has(one.to));
  const changes = names.length + links.length > 0 ? [removeAll(graph, crumb.body, names, links)] : [];
  changes.push(...withoutDrawings(useStore.getState().selection));
  if (changes.length === 0) return;
  change(combined(changes.length === 1 ? changes[0]!.label : "Remove the selection", changes));
  canvas.set({ links: [] });
  useStore.getState().select([]);
  tell(names.length > 0 ? `Removed ${names.join(", ")}` : "Removed");
}

/** The layout without the notes and frames among some ids. */
function withoutDrawings(ids: readonly string[]): Change[] {
  const { crumb } = shownLevel();
  const layout = layoutNow();
  return (["notes", "frames"] as const).flatMap((key) => {
    const gone = new Set(ids.map(named).flatMap((one) => (one.kind === key ? [one.name] : [])));
    if (gone.size === 0) return [];
    const left = Object.fromEntries(Object.entries(layout[key] ?? {}).filter(([name]) => !gone.has(name)));
    return [setLayout(crumb.body, key, left as Layout[typeof key])];
  });
}

/** Mutes or bypasses the selection; what is so already is not any more. */
export function toggle(key: "mute" | "bypass"): void {
  const { crumb } = shownLevel();
  const nodes = selectedNodes().filter((node) => node.entry !== null);
  const on = !nodes.every((node) => node.entry?.[key]);
  const label = `${on ? "" : "Do not "}${key} ${nodes.map((node) => node.id).join(", ")}`;
  change(combined(label, nodes.map((node) => setEntry(crumb.body, node.id, key, on || undefined)))); // prettier-ignore
}

export function toggleCollapsed(): void {
  const { crumb } = shownLevel();
  const collapsed = new Set(layoutNow().collapsed);
  const names = selectedNodes().map((node) => node.id);
  const on = !names.every((name) => collapsed.has(name));
  for (const name of names) if (on) collapsed.add(name);
  else collapsed.delete(name); // prettier-ignore
  change({ ...setLayout(crumb.body, "collapsed", [...collapsed]), label: on ? "Collapse" : "Expand" });
}

/** Asks for the new name of what is selected: a node, or the title of a frame. */
export function renameSelected(): void {
  const [id] = useStore.getState().selection;
  if (id === undefined) return;
  const { kind, name } = named(id);
  if (kind === "frames") return askForFrameTitle(name);
  const node = shownLevel().graph.nodes.find((one) => one.id === name);
  if (node === undefined || node.entry === null) return;
  canvas.set({ name: { title: `Rename ${name}`, label: "Name in the file and in links", value: name, submit: (to) => rename(name, to) } });
}

function rename(from: string, to: string): void {
  const { file, crumb } = shownLevel();
  const made = renameNode(file, crumb.body, from, to);
  change(made);
  useStore.getState().select([to]);
}

function askForFrameTitle(name: string): void {
  const frame = layoutNow().frames?.[name];
  if (frame === undefined) return;
  const submit = (title: string) => putFrame(name, { ...frame, title }, "Title of the frame");
  canvas.set({ name: { title: "Title of the frame", label: "Title", value: frame.title, submit } });
}

/** Asks for the title that a node shows instead of its name. */
export function askForTitle(): void {
  const node = selectedNodes()[0];
  if (node === undefined || node.entry === null) return;
  const submit = (title: string) => change(setEntry(shownLevel().crumb.body, node.id, "title", title || undefined));
  canvas.set({ name: { title: `Title of ${node.id}`, label: "Title (empty: its name)", value: node.title, optional: true, submit } });
}

type Drawing<Key extends "notes" | "frames"> = NonNullable<Layout[Key]>[string];

export function putNote(name: string, note: Drawing<"notes">, label: string, group?: string): void {
  const { crumb } = shownLevel();
  const made = setLayout(crumb.body, "notes", { ...layoutNow().notes, [name]: note });
  change({ ...made, label, ...(group !== undefined && { group }) });
}

export function putFrame(name: string, frame: Drawing<"frames">, label: string): void {
  const { crumb } = shownLevel();
  const made = setLayout(crumb.body, "frames", { ...layoutNow().frames, [name]: frame });
  flushSync(() => change({ ...made, label }));
}

export function addNote(at: Point): void {
  const name = freeName("note", Object.keys(layoutNow().notes ?? {}));
  putNote(name, { text: "", at: rounded(at), size: [240, 120] }, "Add a note");
  useStore.getState().select([noteId(name)]);
}

const MARGIN = 24;
const TITLE = 36;

/** A frame around the selection; an empty one where nothing is selected. */
export function addFrame(at: Point): void {
  const name = freeName("frame", Object.keys(layoutNow().frames ?? {}));
  const box = boxOf(selectedBoxes());
  const frame = box
    ? { at: [box.x - MARGIN, box.y - MARGIN - TITLE] as Point, size: [box.width + 2 * MARGIN, box.height + 2 * MARGIN + TITLE] as Point }
    : { at, size: [420, 280] as Point };
  putFrame(name, { title: "Frame", at: rounded(frame.at), size: rounded(frame.size), color: "blue" }, "Add a frame");
  useStore.getState().select([frameId(name)]);
  askForFrameTitle(name);
}

export function rounded([x, y]: Point): Point {
  return [Math.round(x), Math.round(y)];
}

export type Box = { id: string; x: number; y: number; width: number; height: number };

/** What is drawn, with its sizes as measured. */
export function boxesOf(nodes: readonly FlowNode[]): Box[] {
  return nodes.map((node) => ({
    id: node.id, ...node.position,
    width: node.measured?.width ?? node.width ?? node.initialWidth ?? 0, height: node.measured?.height ?? node.height ?? node.initialHeight ?? 0,
  })); // prettier-ignore
}

export function selectedBoxes(): Box[] {
  const chosen = new Set(useStore.getState().selection);
  return boxesOf(canvas.get().flow?.getNodes() ?? []).filter((box) => chosen.has(box.id));
}

export function boxOf(boxes: readonly Omit<Box, "id">[]): Omit<Box, "id"> | null {
  if (boxes.length === 0) return null;
  const x = Math.min(...boxes.map((box) => box.x));
  const y = Math.min(...boxes.map((box) => box.y));
  const right = Math.max(...boxes.map((box) => box.x + box.width));
  const bottom = Math.max(...boxes.map((box) => box.y + box.height));
  return { x, y, width: right - x, height: bottom - y };
}

/** Writes where nodes, notes and frames stand now. Where the level had no positions, all of them are written. */
export function moveTo(places: ReadonlyMap<string, Point>, label: string, group?: string): void {
  const level = shownLevel();
  const layout = layoutNow();
  const nodes: Record<string, Point> = {};
  const notes = { ...layout.notes };
  const frames = { ...layout.frames };
  const kinds = new Set<string>();
  for (const [id, place] of places) {
    const { kind, name } = named(id);
    const at = rounded(place);
    kinds.add(kind);
    if (kind === "node") nodes[name] = at;
    if (kind === "notes" && notes[name]) notes[name] = { ...notes[name], at };
    if (kind === "frames" && frames[name]) frames[name] = { ...frames[name], at };
  }
  const changes: Change[] = [];
  if (kinds.has("node")) changes.push(moveNodes(level.crumb.body, nodes, unwritten(level)));
  if (kinds.has("notes")) changes.push(setLayout(level.crumb.body, "notes", notes));
  if (kinds.has("frames")) changes.push(setLayout(level.crumb.body, "frames", frames));
  if (changes.length > 0) change(combined(label, changes, group));
}

/** The selection as JSON text, for the clipboard. */
export function copied(): string | null {
  const level = shownLevel();
  const names = selectedNames();
  return names.length === 0 ? null : copy(level.file, level.crumb.body, names, positionsOf(level) ?? {});
}

/** Puts nodes from a text into the level, with the links among them. */
export function pasted(text: string, at: Point): void {
  const level = shownLevel();
  const made = paste(level.file, level.crumb.body, text, rounded(at), unwritten(level));
  flushSync(() => change(made.change));
  useStore.getState().select(made.names);
  tell(`Pasted ${made.names.join(", ")}`);
}

export function duplicateSelected(): void {
  const text = copied();
  const box = boxOf(selectedBoxes());
  if (text !== null && box !== null) pasted(text, [box.x + 40, box.y + 40]);
}

/** Takes the links of an input away. */
export function unlink(node: string, port: Port): void {
  const { graph, crumb } = shownLevel();
  if (port.source !== undefined && (isReference(port.source) || Array.isArray(port.source))) change(disconnect(graph, crumb.body, node, port.id));
}

/** Shows the value of an output in the inspector. */
export function inspectOutput(node: string, output: string): void {
  useStore.getState().inspect(runPath(shownLevel().crumb, node), output);
}

export function isEnd(id: string): boolean {
  return id === INPUTS || id === OUTPUTS;
}
