/** What the search palette offers: node types, what is built in, saved workflows, commands; and how well each fits words. */

import type { NodeType } from "../api/types";
import { mayFit, members, plain } from "../graph/types";
import { type Command, allCommands } from "../state/command";
import type { Store } from "../state/store";
import type { LinkEnd } from "./canvasState";

export type OfferPort = { name: string; type: string; required: boolean };

export type Offer = {
  id: string;
  title: string;
  category: string;
  doc: string;
  inputs: OfferPort[];
  outputs: OfferPort[];
  /** What the file calls it; none for a command. */
  node?: { type: string; path?: string; known?: NodeType };
  command?: Command;
};

const BUILT_IN: Record<string, string> = {
  loop: "Repeats its body; what an iteration gives on (the carry) is what the next one gets. Denoising is such a loop.",
  map: "Does its body for each item of a list, one not knowing of the other, and gives the lists of what came out.",
  switch: "Takes one of several values, by a name. What is not taken is not computed.",
};

export function offersOf(state: Store): Offer[] {
  const nodes = state.nodeTypes.map((type) => nodeOffer(type, state.catalog.get(type.short_name) === type));
  const built = Object.entries(BUILT_IN).map(([type, doc]) => builtIn(type, doc));
  const open = Object.keys(state.docs).filter((name) => !state.workflows.some((one) => one.name === name));
  const saved = [...state.workflows.map(workflowOffer), ...open.map((name) => ({ ...builtIn("workflow", ""), ...called(name) }))];
  return [...nodes, ...built, ...saved, ...allCommands().map(commandOffer)];
}

function nodeOffer(type: NodeType, short: boolean): Offer {
  const ports = (of: NodeType["inputs"]) => Object.entries(of).map(([name, port]) => ({ name, type: port.type, required: port.required ?? false }));
  const name = short ? type.short_name : type.name;
  return {
    id: `node:${type.name}`, title: name, category: type.category, doc: type.doc, inputs: ports(type.inputs), outputs: ports(type.outputs),
    node: { type: name, known: type },
  }; // prettier-ignore
}

function builtIn(type: string, doc: string): Offer {
  return { id: `node:${type}`, title: type, category: "flow", doc, inputs: [], outputs: [], node: { type } };
}

function called(name: string) {
  return { id: `workflow:${name}`, title: name, node: { type: "workflow", path: `${name}.json` } };
}

function workflowOffer(one: Store["workflows"][number]): Offer {
  const inputs = Object.entries(one.inputs).map(([name, input]) => ({ name, type: input.type, required: input.required }));
  const outputs = one.outputs.map((name) => ({ name, type: "any", required: false }));
  return { ...called(one.name), category: "workflow", doc: [one.title, one.description].filter(Boolean).join(". "), inputs, outputs };
}

function commandOffer(command: Command): Offer {
  return { id: `command:${command.id}`, title: command.title, category: "command", doc: command.keys?.join(", ") ?? "", inputs: [], outputs: [], command };
}

/** The port of an offer that a link goes to: one of just its type before one that takes it too, needed ones first. */
export function portFor(offer: Offer, link: LinkEnd): OfferPort | undefined {
  const ports = link.side === "output" ? offer.inputs : offer.outputs;
  const fitting = ports.filter((port) => (link.side === "output" ? mayFit(link.type, port.type) : mayFit(port.type, link.type)));
  const rank = (port: OfferPort) => (plain(port.type) === plain(link.type) ? 2 : 0) + (port.required ? 1 : 0);
  return fitting.sort((a, b) => rank(b) - rank(a))[0];
}

/** Whether something can be put at the other end of a link; loops, maps and switches take anything. */
export function offerFits(offer: Offer, link: LinkEnd): boolean {
  if (offer.command !== undefined) return false;
  if (offer.inputs.length + offer.outputs.length === 0) return link.side === "output";
  return portFor(offer, link) !== undefined;
}

/** How well an offer fits the words of a search; 0 where one of them is found nowhere. */
export function score(offer: Offer, query: string): number {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  let sum = 0;
  for (const word of words) {
    const one = scoreWord(offer, word);
    if (one === 0) return 0;
    sum += one;
  }
  return sum + (words.join("_") === offer.title.toLowerCase() ? 100 : 0);
}

function scoreWord(offer: Offer, word: string): number {
  const title = offer.title.toLowerCase();
  if (title.startsWith(word)) return offer.command ? 85 : 100;
  if (title.split(/[\s_/.-]+/).some((part) => part.startsWith(word))) return offer.command ? 70 : 80;
  if (title.includes(word)) return 60;
  if (offer.category.startsWith(word)) return 40;
  const types = [...offer.outputs, ...offer.inputs].flatMap((port) => members(port.type));
  if (types.some((type) => type.toLowerCase().startsWith(word))) return 30;
  const doc = offer.doc.toLowerCase();
  return doc.includes(` ${word}`) || doc.startsWith(word) ? 15 : doc.includes(word) ? 5 : 0;
}

/** What fits a search, the best first; without words, what was used last, then nodes by category, then commands. */
export function found(offers: readonly Offer[], query: string, recent: readonly string[], link: LinkEnd | null): Offer[] {
  const fitting = link ? offers.filter((offer) => offerFits(offer, link)) : offers;
  const worth = (offer: Offer) => Math.max(0, recent.length - recent.indexOf(offer.id)) * (recent.includes(offer.id) ? 1 : 0);
  const close = (offer: Offer) => (link && plain(portFor(offer, link)?.type ?? "") === plain(link.type) ? 10 : 0);
  const searched = query.trim() !== "";
  const rank = (offer: Offer) => (searched ? score(offer, query) : 0) + close(offer) + Math.min(9, worth(offer));
  const ranked = fitting.filter((offer) => !searched || score(offer, query) > 0).map((offer) => ({ offer, rank: rank(offer) }));
  return ranked.sort((a, b) => b.rank - a.rank || byCategory(a.offer, b.offer)).map((one) => one.offer);
}

function byCategory(a: Offer, b: Offer): number {
  const commands = Number(a.command !== undefined) - Number(b.command !== undefined);
  return commands || (a.command ? 0 : a.category.localeCompare(b.category) || a.title.localeCompare(b.title));
}

const KEY = "stepgraph.recent";
const MOST = 8;

export function recentOffers(): string[] {
  try {
    const read: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(read) ? read.filter((one): one is string => typeof one === "string") : [];
  } catch {
    return []; // What somebody else wrote there is no list: it begins anew.
  }
}

export function rememberOffer(id: string): void {
  localStorage.setItem(KEY, JSON.stringify([id, ...recentOffers().filter((one) => one !== id)].slice(0, MOST)));
}
