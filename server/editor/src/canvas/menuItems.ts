/** What the menus of the canvas hold. */

import { disconnect, removePort, renamePort } from "../graph/edits";
import { INPUTS, OUTPUTS, type Port, ownerOf } from "../graph/graph";
import { addFileInput } from "../graph/edits";
import type { MenuGroups, MenuItem } from "../parts/Menu";
import { type Command, allCommands, perform } from "../state/command";
import { useStore } from "../state/store";
import { inspectOutput, selectedNodes, unlink } from "./actions";
import { addPort, makeInput, makeOutput } from "./adding";
import { type MenuRequest, canvas, shownLevel } from "./canvasState";
import { isLinked } from "./rows";

const NODE: string[][] = [
  ["open", "leave"],
  ["connect", "unlink", "inspect-output"],
  ["rename", "title", "copy", "cut", "duplicate", "delete"],
  ["mute", "bypass", "collapse"],
  ["frame", "subworkflow", "inline"],
  ["align-left", "align-top", "distribute-x", "distribute-y"],
];
const PANE: string[][] = [["palette", "paste"], ["note", "frame"], ["select-all", "layout", "fit"], ["leave"]]; // prettier-ignore

export function menuGroups(request: MenuRequest): MenuGroups {
  if (request.about === "link") return [linkItems(request.link ?? "")];
  const groups = (request.about === "pane" ? PANE : NODE).map((ids) => ids.flatMap(commandItem));
  const own = request.port ? portItems(request.port.node, request.port.port) : [];
  return [own, endItems(request), ...groups].filter((group) => group.length > 0);
}

function commandItem(id: string): MenuItem[] {
  const command = allCommands().find((one) => one.id === id);
  const enabled = command && (command.enabled?.(useStore.getState()) ?? true);
  return enabled ? [itemOf(command)] : [];
}

function itemOf(command: Command): MenuItem {
  return { title: command.title, ...(command.keys?.[0] && { keys: command.keys[0] }), run: () => void perform(command) };
}

function linkItems(id: string): MenuItem[] {
  const { graph, crumb, doc } = shownLevel();
  const link = graph.links.find((one) => one.id === id);
  if (link === undefined) return [];
  const remove = () => useStore.getState().change(disconnect(graph, crumb.body, link.to, link.input, link.item), doc.name);
  return [
    { title: "Look at the value on it", run: () => inspectOutput(link.from, link.output) },
    { title: "Remove the link", keys: "Delete", run: remove },
  ];
}

function portItems(node: string, port: Port): MenuItem[] {
  const items: MenuItem[] = [];
  const output = port.section === "outputs" && node !== OUTPUTS;
  if (isLinked(port)) items.push({ title: `Remove the link of ${port.name}`, run: () => unlink(node, port) });
  if (!output && node !== INPUTS && node !== OUTPUTS) {
    items.push({ title: `Make ${port.name} an input of the workflow`, run: () => makeInput(node, port) });
  }
  if (output || node === INPUTS) {
    items.push({ title: `Look at the value of ${port.name}`, run: () => inspectOutput(node, port.id) });
    const end = { node, port: port.id, type: port.type, side: "output" as const };
    items.push({ title: `Make ${port.name} an output here`, run: () => makeOutput(end) });
  }
  return isChangeable(node, port) ? [...items, ...namedPortItems(node, port)] : items;
}

/** Ports that somebody declared, and can rename or remove: of the file, and of loops, maps and switches. */
function isChangeable(node: string, port: Port): boolean {
  if (node === INPUTS) return port.id !== "index";
  if (node === OUTPUTS) return true;
  const kind = shownLevel().graph.nodes.find((one) => one.id === node)?.kind;
  return (kind === "loop" || kind === "map" || kind === "switch") && port.section !== "times" && port.section !== "select" && port.name !== "output";
}

function namedPortItems(node: string, port: Port): MenuItem[] {
  const change = (made: ReturnType<typeof removePort>) => useStore.getState().change(made, shownLevel().doc.name);
  const rename = (to: string) => change(renamePort(shownLevel().file, shownLevel().crumb.body, node, port, to));
  const remove = () => change(removePort(shownLevel().file, shownLevel().crumb.body, node, port));
  return [
    { title: `Rename ${port.name}…`, run: () => canvas.set({ name: { title: `Rename ${port.name}`, label: "New name", value: port.name, submit: rename } }) },
    { title: `Remove ${port.name}`, run: remove },
  ];
}

type Section = Parameters<typeof addPort>[1];
const ADDED: Record<string, [Section, string][]> = {
  loop: [["carry", "Add a carried value…"], ["each", "Add a list to go through…"], ["inputs", "Add an input that stays…"]],
  map: [["each", "Add a list to go through…"], ["inputs", "Add an input that stays…"]],
  switch: [["cases", "Add a case…"]],
}; // prettier-ignore

/** New ports, for the ends of a level and for loops, maps and switches. */
function endItems(request: MenuRequest): MenuItem[] {
  const { file, crumb } = shownLevel();
  const node = selectedNodes()[0];
  if (request.about !== "node" || node === undefined) return [];
  const owner = ownerOf(file, crumb.body);
  if (node.id === INPUTS && owner === null) return [{ title: "Add an input…", run: () => askForPort("input", addInput) }];
  if (node.id === INPUTS || node.id === OUTPUTS) {
    if (owner === null) return [];
    const kind = owner.type;
    const around = crumb.body.slice(0, -3);
    const name = String(crumb.body.at(-2));
    const gives: [Section, string][] = [kind === "loop" ? ["collect", "Add a collected value…"] : ["outputs", "Add an output…"]];
    const offered = node.id === INPUTS ? (ADDED[kind] ?? []) : [...gives, ...(kind === "loop" ? ADDED.loop!.slice(0, 1) : [])];
    return offered.map(([section, title]) => portItem(name, section, title, around));
  }
  return (ADDED[node.kind] ?? []).map(([section, title]) => portItem(node.id, section, title, crumb.body));
}

function portItem(node: string, section: Section, title: string, body: Parameters<typeof addPort>[3]): MenuItem {
  return { title, run: () => askForPort(section, (name) => addPort(node, section, name, body)) };
}

function askForPort(what: string, submit: (name: string) => void): void {
  canvas.set({ name: { title: `A new ${what}`.replace(/s$/, ""), label: "Name", value: "", submit } });
}

function addInput(name: string): void {
  useStore.getState().change(addFileInput(shownLevel().file, name, { type: "any" }), shownLevel().doc.name);
}
