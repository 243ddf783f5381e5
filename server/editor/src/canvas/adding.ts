/** Putting nodes into the level that is shown, linked where somebody drew a link to them. */

import type { Point } from "../document/workflow";
import { addLoopPort, addNode, addOutput, exposePort } from "../graph/edits";
import { type GraphNode, OUTPUTS, type Port, referenceTo } from "../graph/graph";
import { freeName } from "../graph/names";
import { plain } from "../graph/types";
import { useStore } from "../state/store";
import { boxesOf, rounded } from "./actions";
import { type Choice, type LinkEnd, type PaletteRequest, canvas, shownLevel, tell } from "./canvasState";
import { typeColor } from "../parts/typeColor";
import { fits } from "./Socket";
import { link, portOf, propose } from "./linking";
import { type Offer, portFor } from "./offers";
import { unwritten } from "./placement";

/** Adds what was chosen in the palette. A link that the checker is against is not made; the node is. */
export async function addOffered(offer: Offer, { drop, link: end }: PaletteRequest): Promise<void> {
  if (offer.node === undefined) return;
  const at = drop ? rounded(drop) : freePlace(middle());
  const plainly = () => added(offer, at, null);
  const made = added(offer, at, end);
  if (end === null) return put(made);
  const port = portFor(offer, end);
  const from = end.side === "output" ? { node: end.node, output: end.port } : { node: made.name, output: port?.name ?? "" };
  const to = end.side === "output" ? { node: made.name, input: port?.name ?? "" } : { node: end.node, input: end.port };
  if (await propose(made.change, from, to)) useStore.getState().select([made.name]);
  else put(plainly());
}

type Made = ReturnType<typeof addNode>;

function added(offer: Offer, at: Point, end: LinkEnd | null): Made {
  const level = shownLevel();
  const { file, crumb, graph } = level;
  const { type, path, known } = offer.node!;
  const port = end && portFor(offer, end)?.name;
  const from = end?.side === "output" ? { from: { node: end.node, output: end.port, ...(port && { input: port }) } } : {};
  const to = end?.side === "input" && port ? { to: { node: end.node, input: end.port, output: port } } : {};
  return addNode(file, crumb.body, type, at, { graph, all: unwritten(level), ...(path !== undefined && { path }), ...(known && { known }), ...from, ...to });
}

function put(made: Made): void {
  const { doc } = shownLevel();
  useStore.getState().change(made.change, doc.name);
  useStore.getState().select([made.name]);
  tell(`Added ${made.name}`);
}

const STEP = 40;

/** A place near one where a node covers no other. */
function freePlace([x, y]: Point): Point {
  const boxes = boxesOf(canvas.get().flow?.getNodes().filter((node) => node.type === "graph") ?? []);
  const covers = (top: number) => boxes.some((box) => box.x < x + 250 && box.x + box.width > x - 20 && box.y < top + 150 && box.y + box.height > top - 30);
  for (let step = 0; step < 200; step++) {
    const top = y + STEP * (step % 2 === 0 ? step / 2 : -(step + 1) / 2);
    if (!covers(top)) return rounded([x, top]);
  }
  return rounded([x, y]);
}

/** The middle of what is seen, for what is added without a pointer. */
export function middle(): Point {
  const { flow } = canvas.get();
  const box = document.querySelector(".canvas")?.getBoundingClientRect();
  if (!flow || !box) return [0, 0];
  const { x, y } = flow.screenToFlowPosition({ x: box.left + box.width / 2 - 118, y: box.top + box.height / 3 });
  return [x, y];
}

/** Links a socket to a node that the link was dropped on: to its only port that fits, or to one that is chosen. */
export function linkToNode(end: LinkEnd, target: GraphNode): void {
  const ports = end.side === "output" ? target.inputs : target.outputs;
  const side = end.side === "output" ? "input" : "output";
  const fitting = ports.filter((port) => fits(end, target.id, port, side));
  if (target.id === OUTPUTS && end.side === "output") return makeOutput(end);
  if (fitting.length === 0) return useStore.getState().say("error", `${target.title || target.id} has no ${side} for ${plain(end.type)}.`);
  const free = fitting.filter((port) => port.source === undefined);
  const exact = (free.length > 0 ? free : fitting).filter((port) => plain(port.type) === plain(end.type));
  if (fitting.length === 1 || exact.length === 1) return void linkEnds(end, target.id, (exact[0] ?? fitting[0])!);
  const options = fitting.map((port) => choiceOf(target.id, port, () => void linkEnds(end, target.id, port)));
  canvas.set({ choice: { title: `Which ${side} of ${target.title || target.id}?`, options } });
}

export function choiceOf(node: string, port: Port, choose: () => void): Choice {
  const held = port.source !== undefined ? "replaces what is there" : "";
  return { id: `${node}.${port.id}`, label: port.name, detail: [plain(port.type), held].filter(Boolean).join(", "), color: typeColor(port.type), choose };
}

function linkEnds(end: LinkEnd, node: string, port: Port): Promise<boolean> {
  if (end.side === "output") return link({ node: end.node, output: end.port }, { node, input: port.id });
  return link({ node, output: port.id }, { node: end.node, input: end.port });
}

/** Makes an output of a node an output of the level. */
export function makeOutput(end: LinkEnd): void {
  const { file, crumb, graph, doc } = shownLevel();
  const node = graph.nodes.find((one) => one.id === end.node);
  if (node === undefined) return;
  const base = end.port === "output" ? node.id : end.port.replace(/^(inputs|each|carry)\./, "");
  const made = addOutput(file, crumb.body, referenceTo(node, end.port), base);
  useStore.getState().change(made.change, doc.name);
  tell(`Made ${made.name} an output`);
}

/** Makes a port of a node an input of the workflow. */
export function makeInput(node: string, port: Port): void {
  const { file, crumb, graph, doc } = shownLevel();
  const found = graph.nodes.find((one) => one.id === node);
  if (found === undefined || portOf(graph, node, "inputs", port.id) === undefined) return;
  const made = exposePort(file, crumb.body, found, port);
  useStore.getState().change(made.change, doc.name);
  tell(`${made.name} is an input of the workflow now`);
}

/** Gives a loop, map or switch a port for a value that is linked to it. */
export function addPort(node: string, section: Parameters<typeof addLoopPort>[3], name: string, body = shownLevel().crumb.body): void {
  const { file, doc } = shownLevel();
  const made = addLoopPort(file, body, node, section, freeName(name, []));
  useStore.getState().change(made.change, doc.name);
  tell(`Added ${made.name}`);
}
