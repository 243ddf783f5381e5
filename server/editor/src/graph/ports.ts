/** What people do to inputs and outputs of a level: those of the file, and the ports of loops, maps and switches. */

import type { PortSchema } from "../api/types";
import { Draft } from "../document/draft";
import { EditProblem, type Path } from "../document/edit";
import type { Change, Values } from "../document/history";
import type { Json } from "../document/syntax";
import { type Body, type InputDeclaration, type NodeEntry, type WorkflowFile, isReference } from "../document/workflow";
import { dropLinks, dropOutput, redirect } from "./dropping";
import { type GraphNode, INPUTS, OUTPUTS, type Port, levelAt, outputNames, ownerOf, sourcePath } from "./graph";
import { freeName, nameProblem, refuse } from "./names";
import { own } from "./references";
import { declaredType } from "./types";

/** An input of the file, with its declaration. */
export function addFileInput(file: WorkflowFile, name: string, declaration: InputDeclaration): Change {
  refuse(nameProblem(name, Object.keys(file.inputs ?? {})));
  return { edits: [{ op: "set", path: ["inputs", name], value: declaration as Json }], label: `Add input ${name}` };
}

/** Removes an input of the file, the links that came from it and its value for the next run. */
export function removeFileInput(file: WorkflowFile, name: string): Change {
  const draft = new Draft(file);
  draft.remove(["inputs", name]);
  draft.tidy(["inputs"]);
  dropLinks(draft, [], (from) => from === `inputs.${name}`);
  return { edits: draft.edits, values: { [name]: undefined }, label: `Remove input ${name}` };
}

/** Renames an input of the file, in its links too; its value for the next run comes along. */
export function renameFileInput(file: WorkflowFile, from: string, to: string, values: Values = {}): Change {
  if (from === to) return { edits: [], label: "" };
  refuse(nameProblem(to, Object.keys(file.inputs ?? {})));
  const draft = new Draft(file);
  draft.rename(["inputs", from], to);
  redirect(draft, [], (link) => (link === `inputs.${from}` ? `inputs.${to}` : link));
  const moved = Object.hasOwn(values, from) ? { [from]: undefined, [to]: values[from] } : {};
  return { edits: draft.edits, values: moved, label: `Rename input ${from} to ${to}` };
}

/** Makes an input of a node an input of the workflow. Within bodies, each loop on the way is given it. */
export function exposePort(
  file: WorkflowFile,
  body: Path,
  node: GraphNode,
  port: Port,
): { change: Change; name: string } {
  const draft = new Draft(file);
  const owners = body.flatMap((_, at) => (at % 3 === 2 ? [body.slice(0, at)] : []));
  const taken = [["inputs"], ...owners.map((owner) => [...owner, "inputs"])].flatMap((path) => draft.names(path));
  const name = freeName(port.name, taken);
  draft.set(["inputs", name], declarationOf(port) as Json);
  for (const owner of owners) draft.set([...owner, "inputs", name], { from: `inputs.${name}` });
  draft.set(sourcePath(body, node, port), { from: `inputs.${name}` });
  return { change: { edits: draft.edits, label: `Make ${port.name} an input` }, name };
}

/** How a port is declared as an input of a file: its literal, or else its own default, is the default. */
export function declarationOf(port: Port): InputDeclaration {
  const literal = port.source !== undefined && !hasLinks(port.source) ? (port.source as Json) : port.default;
  const type = literal === null ? "any" : declaredType(port.type);
  const number = type === "integer" || type === "number";
  return {
    type,
    ...(literal !== undefined && { default: literal }),
    ...(port.help && { description: port.help }),
    ...(number && boundsOf(port.schema)),
    ...(type === "string" && port.schema?.enum?.every((one) => typeof one === "string") && { enum: port.schema.enum }),
  };
}

function hasLinks(source: Json): boolean {
  return isReference(source) || (Array.isArray(source) && source.some(hasLinks));
}

function boundsOf(schema: PortSchema | undefined): Pick<InputDeclaration, "minimum" | "maximum"> {
  const { minimum, maximum } = schema ?? {};
  return { ...(minimum !== undefined && { minimum }), ...(maximum !== undefined && { maximum }) };
}

/** What a level gives on besides the carry: the file's and a map's `outputs`, what a loop collects. */
function outputSection(file: WorkflowFile, body: Path): "outputs" | "collect" {
  return ownerOf(file, body)?.type === "loop" ? "collect" : "outputs";
}

/** Makes an output of a node (`{"from": reference}`) an output of the level; a name that is taken gets a number. */
export function addOutput(
  file: WorkflowFile,
  body: Path,
  reference: string,
  name: string,
): { change: Change; name: string } {
  const level = levelAt(file, body) as Body;
  const free = freeName(name, Object.keys({ ...level.outputs, ...level.collect, ...level.carry }));
  const draft = new Draft(file);
  if (body.length > 0) nameOutputs(draft, body.slice(0, -3), String(body.at(-2)));
  draft.set([...body, outputSection(file, body), free], { from: reference });
  return { change: { edits: draft.edits, label: `Add output ${free}` }, name: free };
}

/** Links that name just the loop, as it has one output, name that output: it is about to have two. */
function nameOutputs(draft: Draft, body: Path, loop: string): void {
  const [only, ...more] = outputNames(draft.at([...body, "nodes", loop]) as NodeEntry);
  if (only !== undefined && more.length === 0)
    redirect(draft, body, (from) => (from === loop ? `${loop}.${only}` : from));
}

type PortName = Pick<Port, "section" | "name">;

/** A port by its owner: the file itself (`entry` null), or a node with the path of its entry and of its level. */
type Place = { level: Path; node: string; entry: Path | null; section: Port["section"]; name: string };

/** Where a port is declared that is seen on a node, or from within on the ends of a level. */
function whereIs(file: WorkflowFile, body: Path, node: string, { section, name }: PortName): Place {
  const end = node === INPUTS || node === OUTPUTS;
  if (end && body.length === 0) return { level: body, node, entry: null, section, name };
  const level = end ? body.slice(0, -3) : body;
  const owner = end ? String(body.at(-2)) : node;
  const found = own(levelAt(file, level)?.nodes, owner);
  if (found === undefined) throw new EditProblem(`There is no node "${owner}" here.`);
  const given =
    section === "outputs" && found.type === "loop"
      ? own(found.body?.collect, name) !== undefined
        ? "collect"
        : "carry"
      : section;
  return { level, node: owner, entry: [...level, "nodes", owner], section: given, name };
}

export type LoopSection = "inputs" | "each" | "carry" | "collect" | "outputs" | "cases" | "default";

/**
 * A port for a loop, map or switch. `source` is what it is linked to: outside for `inputs`, `each`, `carry` and `cases`,
 * within the body for `collect` and `outputs`. A new carry is given on as it came, until it gets a link in the body.
 */
export function addLoopPort(
  file: WorkflowFile,
  body: Path,
  node: string,
  section: LoopSection,
  base: string,
  source: Json = null,
): { change: Change; name: string } {
  const draft = new Draft(file);
  const entry = [...body, "nodes", node];
  const gives = section === "collect" || section === "outputs" || section === "carry";
  const holder = section === "collect" || section === "outputs" ? [...entry, "body", section] : [...entry, section];
  const taken = gives ? outputNames(draft.at(entry) as NodeEntry) : [];
  const name = section === "default" ? section : freeName(base, [...draft.names(holder), ...taken]);
  if (gives) nameOutputs(draft, body, node);
  draft.set(section === "default" ? holder : [...holder, name], source);
  if (section === "carry") draft.set([...entry, "body", "carry", name], { from: `carry.${name}` });
  return { change: { edits: draft.edits, label: `Add ${name} to ${node}` }, name };
}

/** Removes a port of a file, loop, map or switch, and all links that used it, outside and inside. */
export function removePort(file: WorkflowFile, body: Path, node: string, port: PortName): Change {
  const at = whereIs(file, body, node, port);
  if (at.entry === null) {
    if (at.section === "inputs") return removeFileInput(file, at.name);
    return { edits: [{ op: "remove", path: ["outputs", at.name] }], label: `Remove output ${at.name}` };
  }
  const draft = new Draft(file);
  if (at.section === "collect" || at.section === "outputs")
    dropOutput(draft, [...at.entry, "body"], at.section, at.name);
  else removeGiven(draft, at.entry, at.section, at.name);
  return { edits: draft.edits, label: `Remove ${at.name} of ${at.node}` };
}

function removeGiven(draft: Draft, entry: Path, section: Port["section"], name: string): void {
  const alone = section === "default" || section === "select" || section === "times";
  const path = alone ? [...entry, section] : [...entry, section, name];
  if (draft.at(path) === undefined)
    throw new EditProblem(`${entry.at(-1)} has no ${section} "${name}" that could be removed.`);
  draft.remove(path);
  const inner = [...entry, "body"];
  if (section === "carry" && draft.at([...inner, "carry", name]) !== undefined) dropOutput(draft, inner, "carry", name);
  if (section === "inputs" || section === "each" || section === "carry")
    dropLinks(draft, inner, (from) => from === `${section}.${name}`);
  if (section === "inputs" || section === "carry") draft.tidy([...entry, section]);
  if (section === "each" && draft.at([...entry, "type"]) === "loop") orTimes(draft, entry);
}

/** A loop that goes through nothing any more says how often it runs. */
function orTimes(draft: Draft, entry: Path): void {
  draft.tidy([...entry, "each"]);
  if (draft.at([...entry, "each"]) === undefined && draft.at([...entry, "times"]) === undefined)
    draft.set([...entry, "times"], 1);
}

/** Renames a port of a file, loop, map or switch, in all links that use it, outside and inside. */
export function renamePort(file: WorkflowFile, body: Path, node: string, port: PortName, to: string): Change {
  if (port.name === to) return { edits: [], label: "" };
  const at = whereIs(file, body, node, port);
  if (at.entry === null && at.section === "inputs") return renameFileInput(file, at.name, to);
  const draft = new Draft(file);
  if (at.entry === null) renameEntry(draft, ["outputs"], at.name, to);
  else renameOwned(draft, { ...at, entry: at.entry }, to);
  return { edits: draft.edits, label: `Rename ${at.name} to ${to}` };
}

function renameEntry(draft: Draft, path: Path, from: string, to: string, taken: readonly string[] = []): void {
  refuse(nameProblem(to, [...draft.names(path), ...taken]));
  draft.rename([...path, from], to);
}

function renameOwned(draft: Draft, at: Place & { entry: Path }, to: string): void {
  const inner = [...at.entry, "body"];
  if (at.section === "cases") return renameCase(draft, at.entry, at.name, to);
  const outputs = outputNames(draft.at(at.entry) as NodeEntry);
  const given = at.section === "inputs" || at.section === "each" || at.section === "carry";
  if (given) renameEntry(draft, [...at.entry, at.section], at.name, to, at.section === "carry" ? outputs : []);
  if (given) redirect(draft, inner, (from) => (from === `${at.section}.${at.name}` ? `${at.section}.${to}` : from));
  if (at.section === "carry" && draft.at([...inner, "carry", at.name]) !== undefined)
    draft.rename([...inner, "carry", at.name], to);
  if (at.section === "collect" || at.section === "outputs")
    renameEntry(draft, [...inner, at.section], at.name, to, outputs);
  if (at.section === "inputs" || at.section === "each") return;
  redirect(draft, at.level, (from) => (from === `${at.node}.${at.name}` ? `${at.node}.${to}` : from));
}

/** Cases may be called as one likes; a switch that selects the case by a literal goes on selecting it. */
function renameCase(draft: Draft, entry: Path, from: string, to: string): void {
  if (draft.names([...entry, "cases"]).includes(to))
    throw new EditProblem(`There is a case "${to}" already. Choose another name.`);
  draft.rename([...entry, "cases", from], to);
  if (draft.at([...entry, "select"]) === from) draft.set([...entry, "select"], to);
}
