/** The commands of the canvas. */

import { currentTab } from "../state/documents";
import type { Command } from "../state/command";
import type { Store } from "../state/store";
import {
  addFrame, addNote, askForTitle, boxOf, copied, duplicateSelected, isEnd, pasted, removeSelected, renameSelected, selectedBoxes,
  selectedNames, selectedNodes, toggle, toggleCollapsed,
} from "./actions"; // prettier-ignore
import { middle } from "./adding";
import type { Alignment } from "./arrange";
import { canvas, shownLevel } from "./canvasState";
import { isOpenable, leaveLevel, openNode } from "./levels";
import { fit } from "./view";

// What is seldom needed is fetched when it is.
const arrange = () => import("./arrange");
const choosing = () => import("./choosing");
const subworkflows = () => import("./subworkflows");

const isOpen = () => canvas.get().level !== null;

/** Whether keys are meant for the canvas: nothing has the focus, or something on it that is no button. */
function onCanvas(): boolean {
  const focused = document.activeElement;
  if (focused === null || focused === document.body) return isOpen();
  return isOpen() && focused.closest(".canvas") !== null && focused.tagName !== "BUTTON";
}

const some = (state: Store) => onCanvas() && state.selection.length > 0;
const someNodes = () => onCanvas() && selectedNames().length > 0;
/** Whether something is selected that is no end of a level: those can neither be renamed nor removed. */
const someOwn = (state: Store) => onCanvas() && state.selection.some((id) => !isEnd(id));
const several = () => onCanvas() && selectedNodes().length > 1;
const one = () => onCanvas() && selectedNodes().length === 1;
const oneOwn = () => one() && selectedNames().length === 1;
const opens = () => onCanvas() && selectedNodes().length === 1 && isOpenable(selectedNodes()[0]!);
const isInside = (state: Store) => currentTab(state).crumbs.length > 1;

const ALIGNMENTS: [Alignment, string][] = [["left", "Left"], ["right", "Right"], ["top", "Up"], ["bottom", "Down"]]; // prettier-ignore

export const canvasCommands: Command[] = [
  {
    id: "palette", title: "Add a node or find a command", keys: ["Ctrl+K"], inFields: true, enabled: isOpen,
    run: () => canvas.set({ palette: { at: null, drop: null, link: null } }),
  },
  { id: "open", title: "Open the loop or sub-workflow", keys: ["Enter"], enabled: opens, run: () => openNode(selectedNodes()[0]!) },
  { id: "leave", title: "Back to the level around", keys: ["Alt+ArrowUp"], enabled: isInside, run: leaveLevel },
  {
    id: "unselect", title: "Select nothing, then leave the level", keys: ["Escape"],
    enabled: (state) => onCanvas() && (state.selection.length > 0 || isInside(state)),
    run: (state) => (state.selection.length > 0 ? state.select([]) : leaveLevel()),
  },
  {
    id: "select-all", title: "Select all", keys: ["Ctrl+A"], enabled: onCanvas,
    run: (state) => state.select((canvas.get().flow?.getNodes() ?? []).map((node) => node.id)),
  },
  { id: "copy", title: "Copy", keys: ["Ctrl+C"], byBrowser: true, enabled: someNodes, run: () => copyNow() },
  { id: "cut", title: "Cut", keys: ["Ctrl+X"], byBrowser: true, enabled: someNodes, run: () => copyNow().then(removeSelected) },
  {
    id: "paste", title: "Paste", keys: ["Ctrl+V"], byBrowser: true, enabled: isOpen,
    run: async () => pasted(await navigator.clipboard.readText(), middle()),
  },
  { id: "duplicate", title: "Duplicate", keys: ["Ctrl+D"], enabled: someNodes, run: duplicateSelected },
  {
    id: "delete", title: "Delete", keys: ["Delete", "Backspace"], run: removeSelected,
    enabled: (state) => someOwn(state) || (onCanvas() && canvas.get().links.length > 0),
  },
  { id: "mute", title: "Mute: leave out", keys: ["Ctrl+M"], enabled: someNodes, run: () => toggle("mute") },
  { id: "bypass", title: "Bypass: pass on what comes in", keys: ["Ctrl+B"], enabled: someNodes, run: () => toggle("bypass") },
  { id: "collapse", title: "Collapse or expand", keys: ["Alt+C"], enabled: some, run: toggleCollapsed },
  { id: "rename", title: "Rename", keys: ["F2"], enabled: someOwn, run: renameSelected },
  { id: "title", title: "Give a title", keys: ["Shift+F2"], enabled: oneOwn, run: askForTitle },
  { id: "connect", title: "Link the node to another one", keys: ["L"], enabled: one, run: async () => (await choosing()).chooseLink() },
  { id: "unlink", title: "Remove a link of the node", keys: ["U"], enabled: one, run: async () => (await choosing()).chooseUnlink() },
  { id: "inspect-output", title: "Look at the value of an output", keys: ["I"], enabled: one, run: async () => (await choosing()).chooseInspected() },
  { id: "note", title: "Add a note", keys: ["Alt+N"], enabled: isOpen, run: () => addNote(menuPlace()) },
  { id: "frame", title: "Frame the selection", keys: ["Ctrl+G"], enabled: isOpen, run: () => addFrame(menuPlace()) },
  { id: "subworkflow", title: "Make a sub-workflow of the selection", keys: ["Ctrl+Shift+G"], enabled: someNodes, run: async () => (await subworkflows()).askForSubworkflow() },
  {
    id: "inline", title: "Put the nodes of the sub-workflow here instead", run: async () => (await subworkflows()).inlineSelected(),
    enabled: () => one() && selectedNodes()[0]!.kind === "workflow",
  },
  { id: "layout", title: "Lay out all nodes", keys: ["Ctrl+Shift+L"], enabled: isOpen, run: async () => (await arrange()).layOutAll() },
  ...ALIGNMENTS.map(([side, arrow]): Command => ({
    id: `align-${side}`, title: `Align ${side}`, keys: [`Alt+Shift+Arrow${arrow}`], enabled: several, run: async () => (await arrange()).align(side),
  })),
  { id: "distribute-x", title: "Distribute from left to right", keys: ["Alt+Shift+H"], enabled: several, run: async () => (await arrange()).distribute("x") },
  { id: "distribute-y", title: "Distribute from top to bottom", keys: ["Alt+Shift+V"], enabled: several, run: async () => (await arrange()).distribute("y") },
  { id: "fit", title: "Fit all nodes into view", keys: ["Alt+0"], enabled: isOpen, run: () => fit() },
  { id: "fit-selection", title: "Fit the selection into view", keys: ["Alt+1"], enabled: some, run: (state) => fit(state.selection) },
  { id: "zoom-in", title: "Zoom in", keys: ["Alt++", "Alt+="], enabled: isOpen, run: () => void canvas.get().flow?.zoomIn({ duration: 120 }) },
  { id: "zoom-out", title: "Zoom out", keys: ["Alt+-"], enabled: isOpen, run: () => void canvas.get().flow?.zoomOut({ duration: 120 }) },
  { id: "menu", title: "Menu of the node", keys: ["Shift+F10", "ContextMenu"], enabled: onCanvas, run: openMenu },
]; // prettier-ignore

/** Where what is added from a menu goes: where the menu was opened. */
function menuPlace(): [number, number] {
  const { menuDrop } = canvas.get();
  return menuDrop ?? middle();
}

async function copyNow(): Promise<void> {
  const text = copied();
  if (text !== null) await navigator.clipboard.writeText(text);
}

/** Opens the menu by keyboard: at the selected node, else in the middle. */
function openMenu(state: Store): void {
  const { flow } = canvas.get();
  const box = boxOf(selectedBoxes());
  const [x, y] = box ? [box.x + 24, box.y + 40] : middle();
  const at = flow?.flowToScreenPosition({ x, y }) ?? { x: 100, y: 100 };
  const focused = shownLevel().graph.nodes.find((node) => node.id === focusedNode());
  if (state.selection.length === 0 && focused) state.select([focused.id]);
  const about = state.selection.length > 0 || focused ? "node" : "pane";
  canvas.set({ menu: { at: [at.x, at.y], about }, menuDrop: null });
}

function focusedNode(): string | undefined {
  return document.activeElement?.closest<HTMLElement>(".react-flow__node")?.dataset.id;
}
