/** The graph of one level of a workflow file: nodes with their ports, and the links between them. */

import type { NodeType, PortSchema, PortTypes, WorkflowSummary } from "../api/types";
import { type Path, same } from "../document/edit";
import type { Json } from "../document/syntax";
import {
  type Body,
  type InputDeclaration,
  type NodeEntry,
  type Source,
  type Sources,
  type WorkflowFile,
} from "../document/workflow";
import { entriesOf, isObject, linksIn, own, splitReference, usesOf, usesOfNode } from "./references";

/** The node that gives a level its inputs, and the one that takes its outputs: every level has both. */
export const INPUTS = "@inputs";
export const OUTPUTS = "@outputs";

/** Where in a node's entry a port's source stands: `inputs.unet`, `each.timestep`, `carry.latents`, `cases.a`, `select`. */
export type Section = "inputs" | "each" | "carry" | "cases" | "collect" | "outputs" | "select" | "times" | "default";

export type Port = {
  /** Unique among the node's ports of its side: `unet`, or with its section where that is not `inputs`: `each.timestep`. */
  id: string;
  name: string;
  section: Section;
  type: string;
  required: boolean;
  help: string;
  source?: Source;
  default?: Json;
  schema?: PortSchema;
  /** Whether a value may be written into the file here; other ports need a link. */
  literal: boolean;
};

export type Kind = "node" | "loop" | "map" | "switch" | "workflow" | "missing" | "inputs" | "outputs";

export type GraphNode = {
  /** Its name in the file; INPUTS and OUTPUTS for the ends of the level. */
  id: string;
  kind: Kind;
  /** Its type as the file names it. */
  type: string;
  title: string;
  entry: NodeEntry | null;
  category: string;
  doc: string;
  inputs: Port[];
  outputs: Port[];
};

/** `item` is the place in the list, where the input is a list of links. */
export type Link = { id: string; from: string; output: string; to: string; input: string; item?: number };
/** `file` is the file that it was read from. */
export type Graph = { file: WorkflowFile; nodes: GraphNode[]; links: Link[] };

/** What the graph of a file is read with. */
export type Surroundings = {
  /** Node types by full and by short name. */
  catalog: ReadonlyMap<string, NodeType>;
  /** Workflows by file name without `.json`. */
  workflows: ReadonlyMap<string, Pick<WorkflowSummary, "title" | "description" | "inputs" | "outputs">>;
  /** What the checker found out about types, by path of the node from the file that was checked. */
  types: Readonly<Record<string, PortTypes>>;
  /** The path from the file that was checked to this one, which a node of it calls: `denoise`; empty for the file itself. */
  prefix: string;
  /** Types of the file's own inputs, where they are declared `any`. */
  inputTypes: Readonly<Record<string, string>>;
};

export const BUILT_IN = new Set(["loop", "map", "switch", "workflow"]);

/** The level of a file at a path: the file itself (empty path) or the body of a loop or map. */
export function levelAt(file: WorkflowFile, body: Path): WorkflowFile | Body | null {
  let level: WorkflowFile | Body = file;
  for (let at = 0; at < body.length; at += 3) {
    const inner: Body | undefined = own(level.nodes, String(body[at + 1]))?.body;
    if (!isObject(inner)) return null;
    level = inner;
  }
  return isObject(level) ? level : null;
}

/** The path of a node for the checker and in events: `denoise.loop.step`. */
export function nodePath(body: Path, name: string): string {
  return [...body.filter((_, at) => at % 3 === 1), name].join(".");
}

function typesOf(around: Surroundings, body: Path, name: string): PortTypes | undefined {
  const path = nodePath(body, name);
  return own(around.types, around.prefix ? `${around.prefix}.${path}` : path);
}

/** The entry of the node whose body this is; null at the level of the file. */
export function ownerOf(file: WorkflowFile, body: Path): NodeEntry | null {
  if (body.length === 0) return null;
  return own(levelAt(file, body.slice(0, -3))?.nodes, String(body.at(-2))) ?? null;
}

/**
 * Reads a level. What is made of the same entries and types is the very same object as the time before, so that what
 * shows it need not be drawn again.
 */
export function readGraph(file: WorkflowFile, body: Path, around: Surroundings): Graph {
  const level = levelAt(file, body);
  if (level === null) return { file, nodes: [], links: [] };
  const used = usedOutputs(level);
  const entries = Object.entries(isObject(level.nodes) ? level.nodes : {});
  const nodes = entries.map(([name, entry]) =>
    nodeOf(name, isObject(entry) ? entry : NO_ENTRY, body, around, used.get(name)),
  );
  const place = `${around.prefix}/${body.join("/")}`;
  const ends = [
    kept(`${place}<`, inputsNode(file, body, around)),
    ...nodes,
    kept(`${place}>`, outputsNode(file, body, level)),
  ];
  return { file, nodes: ends, links: linksOf(ends) };
}

/** Stands for what a file has in the place of a node, but is no object; the checker says what is wrong with it. */
const NO_ENTRY: NodeEntry = { type: "" };

/** What a node is made of besides its entry. */
type Facts = {
  name: string;
  known: NodeType | undefined;
  called: Called | undefined;
  types: PortTypes | undefined;
  used: readonly string[];
};
type Called = Pick<WorkflowSummary, "title" | "description" | "inputs" | "outputs">;

const made = new WeakMap<NodeEntry, { facts: Facts; node: GraphNode }>();

function nodeOf(
  name: string,
  entry: NodeEntry,
  body: Path,
  around: Surroundings,
  used: readonly string[] = [],
): GraphNode {
  const called = entry.type === "workflow" ? around.workflows.get(calledWorkflow(entry)) : undefined;
  const facts = { name, known: around.catalog.get(entry.type), called, types: typesOf(around, body, name), used };
  const before = made.get(entry);
  if (before !== undefined && sameFacts(before.facts, facts)) return before.node;
  const node = readNode(entry, facts);
  made.set(entry, { facts, node });
  return node;
}

function sameFacts(a: Facts, b: Facts): boolean {
  if (a.name !== b.name || a.known !== b.known) return false;
  return alike(a.called, b.called) && alike(a.types, b.types) && alike(a.used, b.used);
}

function alike(a: unknown, b: unknown): boolean {
  return a === b || (a !== undefined && b !== undefined && same(a as Json, b as Json));
}

const ends = new Map<string, GraphNode>();

/** The end of a level that was there before, if the new one is no other. */
function kept(place: string, end: GraphNode): GraphNode {
  const before = ends.get(place);
  if (before !== undefined && alike(before, end)) return before;
  ends.set(place, end);
  return end;
}

/** The outputs that links of a level name, by node: also those that the node's type does not have (any more). */
function usedOutputs(level: WorkflowFile | Body): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const { start, rest } of usesOf(level)) {
    const held = found.get(start);
    if (held === undefined) found.set(start, rest === undefined ? [] : [rest]);
    else if (rest !== undefined && !held.includes(rest)) held.push(rest);
  }
  return found;
}

function readNode(entry: NodeEntry, facts: Facts): GraphNode {
  const { name, known, called, types } = facts;
  return {
    id: name, kind: kindOf(entry, known), type: entry.type ?? "", title: entry.title ?? "", entry,
    category: known?.category ?? (BUILT_IN.has(entry.type) ? "flow" : ""), doc: known?.doc ?? "",
    inputs: inputPorts(entry, known, called, types), outputs: outputPorts(entry, facts),
  }; // prettier-ignore
}

function kindOf(entry: NodeEntry, known: NodeType | undefined): Kind {
  if (BUILT_IN.has(entry.type)) return entry.type as Kind;
  return known ? "node" : "missing";
}

/** The name under which a workflow node's file is known. */
export function calledWorkflow(entry: NodeEntry): string {
  return String(entry.path ?? "").replace(/\.json$/, "");
}

function inputPorts(
  entry: NodeEntry,
  known: NodeType | undefined,
  called: Called | undefined,
  types?: PortTypes,
): Port[] {
  const names = new Set([...Object.keys(known?.inputs ?? called?.inputs ?? {}), ...namesOf(entry.inputs)]);
  const ports = [...names].map((name) => inputPort(name, entry, known, own(called?.inputs, name), types));
  return [...special(entry, types), ...ports];
}

function inputPort(
  name: string,
  entry: NodeEntry,
  known: NodeType | undefined,
  declared: WorkflowSummary["inputs"][string] | undefined,
  types?: PortTypes,
): Port {
  const port = own(known?.inputs, name);
  const schema = port?.schema ?? (declared && schemaOf(declared));
  // The ports of a loop's own may be called as it likes, also like the one that says how often it runs.
  const id = name === "times" && entry.times !== undefined ? `inputs.${name}` : name;
  return {
    id, name, section: "inputs", source: own(entry.inputs, name),
    type: own(types?.inputs, name) ?? port?.type ?? declared?.type ?? "any",
    required: port?.required ?? declared?.required ?? false,
    help: port?.help ?? declared?.description ?? "",
    default: port?.default ?? declared?.default,
    schema, literal: port?.literal ?? (declared === undefined || declared.type !== "any"),
  }; // prettier-ignore
}

function namesOf(held: object | undefined): string[] {
  return isObject(held) ? Object.keys(held) : [];
}

function schemaOf(input: WorkflowSummary["inputs"][string]): PortSchema | undefined {
  if (input.type === "any") return undefined;
  const type = input.type === "path" ? "string" : input.type;
  return {
    type, ...(input.type === "path" && { format: "path" }), ...(input.enum && { enum: input.enum }),
    ...(input.minimum !== null && { minimum: input.minimum }), ...(input.maximum !== null && { maximum: input.maximum }),
  }; // prettier-ignore
}

/** The ports that loops, maps and switches have besides `inputs`. */
function special(entry: NodeEntry, types?: PortTypes): Port[] {
  const ports: Port[] = [];
  const put = (section: Section, name: string, source: Source | undefined, help: string) => {
    const id = section === name ? name : `${section}.${name}`;
    const type = own(types?.inputs, id) ?? own(types?.inputs, name) ?? "any";
    ports.push({
      id,
      name,
      section,
      source,
      type,
      required: true,
      help,
      literal: section === "times" || section === "select",
    });
  };
  for (const [name, source] of entriesOf(entry.each)) put("each", name, source, "A list: one item for each iteration.");
  if (entry.times !== undefined) put("times", "times", entry.times, "How many iterations.");
  for (const [name, source] of entriesOf(entry.carry))
    put("carry", name, source, "What the first iteration starts with.");
  if (entry.type === "switch") put("select", "select", entry.select, "Which case is taken.");
  for (const [name, source] of entriesOf(entry.cases)) put("cases", name, source, "The value of this case.");
  if (entry.default !== undefined) put("default", "default", entry.default, "The value where no case fits.");
  return ports;
}

function outputPorts(entry: NodeEntry, { known, called, types, used }: Facts): Port[] {
  const declared = declaredOutputs(entry, known, called);
  // Links to what a type does not have (any more) are shown too: they can be seen, and taken away.
  const names = new Set([...declared, ...used]);
  if (names.size === 0 && !known && !BUILT_IN.has(entry.type)) names.add("output");
  return [...names].map((name) => ({
    id: name, name, section: "outputs", type: own(types?.outputs, name) ?? own(known?.outputs, name)?.type ?? "any",
    required: false, help: "", literal: false,
  })); // prettier-ignore
}

function declaredOutputs(entry: NodeEntry, known: NodeType | undefined, called: Called | undefined): string[] {
  if (known) return Object.keys(known.outputs);
  if (entry.type === "switch") return ["output"];
  return entry.type === "workflow" ? (called?.outputs ?? []) : outputNames(entry);
}

/** The outputs of a loop or map: what it carries, what it collects, what its body gives. */
export function outputNames(entry: NodeEntry): string[] {
  const { carry, collect, outputs } = isObject(entry.body) ? entry.body : ({} as Partial<Body>);
  return [...new Set([...namesOf(carry), ...namesOf(collect), ...namesOf(outputs)])];
}

/** The left end of a level: the file's inputs, or what a loop gives its body. */
function inputsNode(file: WorkflowFile, body: Path, around: Surroundings): GraphNode {
  const owner = ownerOf(file, body);
  const end = {
    id: INPUTS, kind: "inputs" as const, type: "inputs", title: owner ? "Each iteration gets" : "Inputs", entry: null,
    category: "", doc: "", inputs: [],
  }; // prettier-ignore
  if (owner === null) return { ...end, outputs: fileInputs(file, around) };
  const types = typesOf(around, body.slice(0, -3), String(body.at(-2)));
  const outputs: Port[] = [];
  for (const section of ["each", "carry", "inputs"] as const) {
    for (const name of namesOf(owner[section])) {
      const outer =
        own(types?.inputs, section === "inputs" ? name : `${section}.${name}`) ?? own(types?.inputs, name) ?? "any";
      const type = section === "each" ? itemOf(outer) : outer;
      outputs.push({
        id: `${section}.${name}`,
        name,
        section,
        type,
        required: false,
        help: HELP[section],
        literal: false,
      });
    }
  }
  outputs.push({
    id: "index",
    name: "index",
    section: "inputs",
    type: "int",
    required: false,
    help: HELP.index,
    literal: false,
  });
  return { ...end, outputs };
}

const HELP = {
  each: "The item of this iteration.",
  carry: "What the last iteration gave on; the first one starts with what the loop was given.",
  inputs: "The same in every iteration.",
  index: "The number of the iteration, from 0.",
};

/** The type of the items of a list type. */
export function itemOf(type: string): string {
  if (type === "Timesteps") return "Timestep";
  return /^list\[(.*)\]$/.exec(type)?.[1] ?? "any";
}

function fileInputs(file: WorkflowFile, around: Surroundings): Port[] {
  return entriesOf(file.inputs).map(([name, written]) => {
    const declared: InputDeclaration = isObject(written) ? written : {};
    const type = declared.type && declared.type !== "any" ? declared.type : (own(around.inputTypes, name) ?? "any");
    const schema = schemaOf({
      type: declared.type ?? "any", required: false, default: null, description: "",
      minimum: declared.minimum ?? null, maximum: declared.maximum ?? null, enum: declared.enum ?? null,
    }); // prettier-ignore
    const items = typeof declared.items === "string" && { items: { type: declared.items } };
    return {
      id: `inputs.${name}`, name, section: "inputs", type, required: !("default" in declared), schema: schema && { ...schema, ...items },
      help: declared.description ?? "", default: declared.default, literal: declared.type !== "any",
    }; // prettier-ignore
  });
}

/** The right end of a level: the file's outputs, or what an iteration gives on and what is collected. */
function outputsNode(file: WorkflowFile, body: Path, level: WorkflowFile | Body): GraphNode {
  const owner = ownerOf(file, body);
  const inputs: Port[] = [];
  for (const section of ["carry", "collect", "outputs"] as const) {
    for (const [name, source] of entriesOf((level as Partial<Record<Section, Sources>>)[section])) {
      const id = section === "outputs" ? name : `${section}.${name}`;
      inputs.push({ id, name, section, source, type: "any", required: false, help: "", literal: false });
    }
  }
  return {
    id: OUTPUTS, kind: "outputs", type: "outputs", title: owner ? "Each iteration gives" : "Outputs", entry: null,
    category: "", doc: "", inputs, outputs: [],
  }; // prettier-ignore
}

/** The links into a node, with the nodes that they come from: they are the same as long as those are. */
const links = new WeakMap<GraphNode, { origins: readonly (GraphNode | undefined)[]; links: Link[] }>();

function linksOf(nodes: readonly GraphNode[]): Link[] {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  return nodes.flatMap((node) => linksInto(node, byId));
}

function linksInto(node: GraphNode, byId: ReadonlyMap<string, GraphNode>): Link[] {
  const starts = node.entry
    ? usesOfNode(node.id, node.entry).map((use) => use.start)
    : node.inputs.flatMap((port) => linksIn(port.source)).map((link) => splitReference(link.from)[0]);
  const origins = starts.map((name) => byId.get(GIVEN.has(name) ? INPUTS : name));
  const before = links.get(node);
  if (
    before !== undefined &&
    before.origins.length === origins.length &&
    before.origins.every((one, at) => one === origins[at])
  )
    return before.links;
  const made = linksMade(node, byId);
  links.set(node, { origins, links: made });
  return made;
}

function linksMade(node: GraphNode, byId: ReadonlyMap<string, GraphNode>): Link[] {
  return node.inputs.flatMap((port) =>
    linksIn(port.source).flatMap(({ path, from }) => {
      const end = origin(from, byId);
      const there = end && byId.get(end.from)?.outputs.some((output) => output.id === end.output);
      return end && there ? [linkOf(end, node.id, port.id, path)] : [];
    }),
  );
}

/** Links by their ids, which say all of them. */
const known = new Map<string, Link>();

function linkOf(end: { from: string; output: string }, to: string, input: string, path: readonly number[]): Link {
  const id = `${end.from}:${end.output}>${to}:${input}${path.map((at) => `[${at}]`).join("")}`;
  const [item] = path;
  const link = known.get(id) ?? { id, ...end, to, input, ...(item !== undefined && { item }) };
  known.set(id, link);
  return link;
}

const GIVEN = new Set(["inputs", "each", "carry", "index"]);

/** Where a reference comes from: `noise.latents`, `noise` (the only output), `inputs.prompt`, `each.timestep`, `index`. */
export function origin(from: string, nodes: ReadonlyMap<string, GraphNode>): { from: string; output: string } | null {
  const [name = "", output] = splitReference(from);
  if (GIVEN.has(name)) return { from: INPUTS, output: from };
  const node = nodes.get(name);
  if (node === undefined) return null;
  return { from: name, output: output ?? node.outputs[0]?.id ?? "" };
}

/** How the file refers to an output: without its name where it is the node's only one. */
export function referenceTo(node: GraphNode, output: string): string {
  if (node.id === INPUTS) return output;
  return node.outputs.length === 1 && node.outputs[0]!.id === output ? node.id : `${node.id}.${output}`;
}

/** The path in the file of the source of an input port of a node of a level. */
export function sourcePath(body: Path, node: GraphNode, port: Port): Path {
  if (node.id === OUTPUTS) return [...body, port.section, port.name];
  const entry = [...body, "nodes", node.id];
  const alone =
    port.section === "select" || port.section === "times" || (port.section === "default" && port.name === "default");
  return alone ? [...entry, port.section] : [...entry, port.section, port.name];
}
