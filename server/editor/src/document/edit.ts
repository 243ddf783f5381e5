/** Edits of a JSON tree by path. What an edit does not touch stays as it was, to the byte. */

import { CANONICAL, isCanonical, keyOrder, layOut, layOutFile, OPEN_LEVELS, type Style, WIDTH } from "./canonical";
import {
  type ArrayNode,
  type Json,
  type Node,
  type ObjectNode,
  type Tree,
  entryOf,
  nodeOf,
  onOneLine,
  valueOf,
  writeNode,
} from "./syntax";

export type Path = readonly (string | number)[];

/**
 * One change. `set` makes what is missing on the way; `before` names the entry before which a new one goes (else it goes
 * where the canonical order wants it, or last). `rename` keeps the place of the entry. `remove` may say when: only if the
 * entry is there, or only if it is there and holds nothing (any more); else it has to be there. `like` is a node of
 * another text that says the value, for those to whom it matters how a number is written (4.0, or one too long for JavaScript).
 */
export type Edit =
  | { op: "set"; path: Path; value: Json; before?: string; like?: Node }
  | { op: "remove"; path: Path; when?: "there" | "empty" }
  | { op: "rename"; path: Path; name: string };

/** What cannot be done to a file: a mistake of the caller. */
export class EditProblem extends Error {}

/** How an edit is written where a file is not canonical: as the lines around it are. Null in canonical files. */
type Local = Style | null;

/** Applies edits in order. A file in canonical layout stays in it; in any other, only the edited lines change. */
export function applyEdits(tree: Tree, edits: readonly Edit[]): Tree {
  const local = localOf(tree);
  let root = tree.root;
  for (const edit of edits) if (applies(root, edit)) root = change(root, edit.path, 0, edit, local);
  if (root === tree.root) return tree;
  const made = local === null ? layOutFile({ ...tree, root }) : { ...tree, root };
  locals.set(made, local);
  return made;
}

const locals = new WeakMap<Tree, Local>();

/** How a file is written. What a file was when it was read it stays: a look at all of it for each edit would take long. */
function localOf(tree: Tree): Local {
  let local = locals.get(tree);
  if (local === undefined) {
    local = isCanonical(tree) ? null : styleOf(tree.root);
    locals.set(tree, local);
  }
  return local;
}

/** How the lines of a file begin, told by its first entry. */
function styleOf(root: Node): Style {
  const lead = root.kind === "object" ? (root.entries[0]?.lead ?? "") : "";
  const unit = marginOf(lead);
  return { newline: lead.includes("\r\n") ? "\r\n" : "\n", unit: unit === "" ? CANONICAL.unit : unit };
}

/** The white space that a line begins with, of the last line of some. */
function marginOf(lead: string): string {
  return lead.slice(lead.lastIndexOf("\n") + 1);
}

function applies(root: Node, edit: Edit): boolean {
  if (edit.op !== "remove" || edit.when === undefined) return true;
  const node = nodeAt(root, edit.path);
  if (node === undefined || edit.when === "there") return node !== undefined;
  return node.kind !== "leaf" && (node.kind === "object" ? node.entries : node.items).length === 0;
}

export function nodeAt(node: Node, path: Path): Node | undefined {
  let found: Node | undefined = node;
  for (const step of path) {
    if (found === undefined || found.kind === "leaf") return undefined;
    if (found.kind === "array") found = found.items[Number(step)]?.node;
    else found = found.entries.find((entry) => entry.key === step)?.node;
  }
  return found;
}

function change(node: Node, path: Path, depth: number, edit: Edit, local: Local): Node {
  if (depth === path.length) {
    if (edit.op !== "set") throw new EditProblem("the whole file cannot be removed or renamed");
    return replaced(node, edit, depth, local);
  }
  if (node.kind === "array") return changeArray(node, path, depth, edit, local);
  if (node.kind === "leaf") throw new EditProblem(`${where(path, depth)} holds no entries`);
  return changeObject(node, path, depth, edit, local);
}

function changeArray(node: ArrayNode, path: Path, depth: number, edit: Edit, local: Local): Node {
  const index = Number(path[depth]);
  const item = node.items[index];
  if (item === undefined || (edit.op !== "set" && depth === path.length - 1)) {
    throw new EditProblem(`${where(path, depth + 1)}: items of lists can only be set; set the list`);
  }
  const inner = change(item.node, path, depth + 1, edit, local);
  return inner === item.node ? node : { ...node, items: node.items.with(index, { ...item, node: inner }) };
}

function changeObject(node: ObjectNode, path: Path, depth: number, edit: Edit, local: Local): Node {
  const key = String(path[depth]);
  const at = node.entries.findIndex((entry) => entry.key === key);
  const last = depth === path.length - 1;
  if (at < 0) return edit.op === "set" ? added(node, path, depth, edit, local) : missing(path, depth);
  const entry = node.entries[at]!;
  if (last && edit.op === "remove") return removed(node, at, local);
  if (last && edit.op === "rename") return renamed(node, at, edit.name, path, local);
  const inner = change(entry.node, path, depth + 1, edit, local);
  if (inner === entry.node) return node;
  return settled(node, { ...node, entries: node.entries.with(at, { ...entry, node: inner }) }, depth, local);
}

function missing(path: Path, depth: number): never {
  throw new EditProblem(`${where(path, depth + 1)} is not there`);
}

function added(node: ObjectNode, path: Path, depth: number, edit: Edit & { op: "set" }, local: Local): Node {
  const key = String(path[depth]);
  const inner = path.slice(depth + 1).reduceRight<Node>((made, step) => objectOf(String(step), made), newNode(edit));
  const at = placeOf(node, path.slice(0, depth), key, depth === path.length - 1 ? edit.before : undefined);
  const entries = [...node.entries];
  entries.splice(at, 0, fresh(node, at, key, inner, depth, local));
  // Who was first and is so no longer takes the white space of a later one.
  if (at === 0 && entries.length > 1) entries[1] = { ...entries[1]!, lead: spacing(node, 1) };
  const tail = node.entries.length === 0 ? "" : node.tail;
  return settled(node, { ...node, entries, tail }, depth, local);
}

function newNode(edit: Edit & { op: "set" }): Node {
  return edit.like ? onOneLine(edit.like) : nodeOf(edit.value);
}

function objectOf(key: string, node: Node): ObjectNode {
  return { kind: "object", entries: [entryOf(key, node, 0)], tail: "" };
}

function fresh(
  node: ObjectNode,
  at: number,
  key: string,
  value: Node,
  depth: number,
  local: Local,
): ObjectNode["entries"][number] {
  const lead = node.entries.length === 0 ? "" : at === 0 ? node.entries[0]!.lead : spacing(node, at);
  const made = { ...entryOf(key, value, at), lead, colon: node.entries[0]?.colon ?? ": " };
  if (local === null || !lead.includes("\n")) return made;
  const margin = marginOf(lead);
  return {
    ...made,
    node: layOut(value, margin, margin.length + made.rawKey.length + 2, OPEN_LEVELS - depth - 1, local),
  };
}

/** The white space before an entry that is not the first: that of its neighbours. */
function spacing(node: ObjectNode, at: number): string {
  const neighbour = node.entries[Math.min(Math.max(at, 1), node.entries.length - 1)]!;
  if (node.entries.length > 1) return neighbour.lead;
  return neighbour.lead.includes("\n") ? neighbour.lead : " ";
}

function placeOf(node: ObjectNode, path: Path, key: string, before: string | undefined): number {
  const order = keyOrder(path);
  const rank = order?.indexOf(key) ?? -1;
  if (order === null || rank < 0) {
    const at = before === undefined ? -1 : node.entries.findIndex((entry) => entry.key === before);
    return at < 0 ? node.entries.length : at;
  }
  let at = node.entries.length;
  while (at > 0) {
    const other = order.indexOf(node.entries[at - 1]!.key);
    if (other >= 0 && other < rank) break;
    at--;
  }
  // Unknown keys stand last; nothing known precedes: the first place.
  return at;
}

function removed(node: ObjectNode, at: number, local: Local): Node {
  const entries = node.entries.toSpliced(at, 1);
  if (at === 0 && entries.length > 0) entries[0] = { ...entries[0]!, lead: node.entries[0]!.lead };
  if (entries.length === 0) return { ...node, entries, tail: "" };
  if (local !== null && at === entries.length) entries[at - 1] = { ...entries[at - 1]!, trail: "" };
  return { ...node, entries };
}

function renamed(node: ObjectNode, at: number, name: string, path: Path, local: Local): Node {
  const entry = node.entries[at]!;
  if (entry.key === name) return node;
  if (node.entries.some((other) => other.key === name)) {
    throw new EditProblem(`${where(path, path.length - 1)} has a "${name}" already`);
  }
  const changed = { ...entry, key: name, rawKey: JSON.stringify(name) };
  return settled(node, { ...node, entries: node.entries.with(at, changed) }, path.length - 1, local);
}

/** A value for a value: one that is equal leaves the node as it is, and so it is with equal parts of the two. */
function replaced(node: Node, edit: Edit & { op: "set" }, depth: number, local: Local): Node {
  if (edit.like === undefined && same(valueOf(node), edit.value)) return node;
  if (edit.like === undefined && node.kind === "array" && Array.isArray(edit.value))
    return replacedItems(node, edit.value);
  const merged = edit.like === undefined && node.kind === "object" ? replacedEntries(node, edit, depth, local) : null;
  if (merged !== null) return merged;
  const made = newNode(edit);
  const text = writeNode(node);
  if (local === null || !text.includes("\n")) return made;
  const margin = /^[ \t]*/.exec(marginOf(text))![0];
  return layOut(made, margin, margin.length, OPEN_LEVELS - depth, local);
}

/** A list for a list: items that are in both keep their text. */
function replacedItems(node: ArrayNode, value: readonly Json[]): Node {
  let next = 0;
  const items = value.map((item, index) => {
    const found = node.items.findIndex((old, at) => at >= next && same(valueOf(old.node), item));
    if (found >= 0) next = found + 1;
    const lead = index === 0 ? (node.items[0]?.lead ?? "") : (node.items[1]?.lead ?? " ");
    return { lead, node: found >= 0 ? node.items[found]!.node : nodeOf(item), trail: "" };
  });
  return { kind: "array", items, tail: items.length === 0 ? "" : node.tail };
}

/** An object for an object, entry by entry; null where their order would not be that of the new one. */
function replacedEntries(node: ObjectNode, edit: Edit & { op: "set" }, depth: number, local: Local): Node | null {
  const { value, path } = edit;
  if (value === null || typeof value !== "object" || Array.isArray(value)) return null;
  const keys = Object.keys(value);
  const there = new Set(node.entries.map((entry) => entry.key).filter((key) => Object.hasOwn(value, key)));
  if (
    !same(
      [...there],
      keys.filter((key) => there.has(key)),
    )
  )
    return null;
  const held = valueOf(node) as { [key: string]: Json };
  let made: Node = node;
  for (const { key } of node.entries) {
    if (!Object.hasOwn(value, key)) made = change(made, [key], 0, { op: "remove", path: [key] }, local);
  }
  keys.forEach((key, index) => {
    const before = there.has(key) ? undefined : keys.slice(index + 1).find((other) => there.has(other));
    if (!there.has(key) || !same(held[key]!, value[key]!))
      made = change(
        made,
        [...path, key],
        depth,
        { op: "set", path: [...path, key], value: value[key]!, ...(before !== undefined && { before }) },
        local,
      );
  });
  return made;
}

/** In a file that is not canonical, an object on one line that becomes too long for it is laid out over lines. */
function settled(before: Node, node: ObjectNode, depth: number, local: Local): Node {
  if (local === null || node.tail.includes("\n") || node.entries.some((entry) => entry.lead.includes("\n")))
    return node;
  const text = writeNode(node);
  if (text.includes("\n") || text.length < WIDTH || writeNode(before).length >= WIDTH) return node;
  return layOut(node, local.unit.repeat(depth), WIDTH, 0, local);
}

export function same(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (a === null || b === null || typeof a !== "object" || typeof b !== "object") return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, at) => same(item, b[at]!));
  }
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key]!, b[key]!));
}

function where(path: Path, length: number): string {
  return path.slice(0, length).join(".") || "the file";
}
