/**
 * The canonical layout of a workflow file, that of `stepgraph format`: what is short on one line, else one entry a line.
 */

import { type Node, type Tree, onOneLine, placed, placedEntry, relaid, writeNode } from "./syntax";

/** Columns of a line. */
export const WIDTH = 120;

/** Levels of objects that have one entry a line however short they are: the file and its parts. */
export const OPEN_LEVELS = 2;

const FILE = ["$schema", "stepgraph", "title", "description", "inputs", "nodes", "outputs", "layout"];
const INPUT = ["type", "default", "description", "minimum", "maximum", "enum", "items"];
const NODE = [
  "type", "title", "note", "mute", "bypass", "path", "select", "cases", "default", "inputs", "each", "times", "mode",
  "carry", "body",
]; // prettier-ignore
const BODY = ["nodes", "carry", "collect", "outputs", "layout"];

/** The order that keys with a meaning have in the object at a path; null where names are their author's. */
export function keyOrder(path: readonly (string | number)[]): readonly string[] | null {
  if (path.length === 0) return FILE;
  let at: "file" | "body" = "file";
  let rest = path;
  while (rest.length >= 2 && rest[0] === "nodes") {
    if (rest.length === 2) return NODE;
    if (rest[2] !== "body") return null;
    if (rest.length === 3) return BODY;
    at = "body";
    rest = rest.slice(3);
  }
  return at === "file" && rest.length === 2 && rest[0] === "inputs" ? INPUT : null;
}

const compacts = new WeakMap<Node, string>();

/** A node on one line. */
function compact(node: Node): string {
  if (node.kind === "leaf") return node.raw;
  let text = compacts.get(node);
  if (text === undefined) {
    text =
      node.kind === "object"
        ? `{${node.entries.map((entry) => `${entry.rawKey}: ${compact(entry.node)}`).join(", ")}}`
        : `[${node.items.map((item) => compact(item.node)).join(", ")}]`;
    compacts.set(node, text);
  }
  return text;
}

/** How many columns a text takes. Python counts characters where JavaScript counts halves of rare ones. */
function width(text: string): number {
  return /[\ud800-\udbff]/.test(text) ? [...text].length : text.length;
}

/** How lines begin: what ends the line before, and what a level adds to the margin. */
export type Style = { newline: string; unit: string };

export const CANONICAL: Style = { newline: "\n", unit: "  " };

/** Where a node was found to be laid out canonically, so that it need not be looked through again. */
const settled = new WeakMap<Node, string>();

/**
 * Lays a node out from its column on; a node that is laid out so already stays the very object. `margin` is the white
 * space before the line that the node begins in.
 */
export function layOut(node: Node, margin: string, column: number, openLevels = 0, style: Style = CANONICAL): Node {
  if (node.kind === "leaf") return node;
  const place = style === CANONICAL ? `${margin.length},${column},${Math.max(openLevels, 0)}` : null;
  if (place !== null && settled.get(node) === place) return node;
  const made = laidOut(node, margin, column, openLevels, style);
  if (place !== null) settled.set(made, place);
  return made;
}

function laidOut(
  node: Exclude<Node, { kind: "leaf" }>,
  margin: string,
  column: number,
  openLevels: number,
  style: Style,
): Node {
  const count = node.kind === "object" ? node.entries.length : node.items.length;
  const staysOpen = count > 0 && openLevels > 0 && node.kind === "object";
  if (staysOpen) return onLines(node, margin, openLevels, style);
  const line = compact(node);
  if (count > 0 && line.length >= WIDTH - column && column + width(line) >= WIDTH)
    return onLines(node, margin, openLevels, style);
  return writeNode(node) === line ? node : onOneLine(node);
}

function onLines(node: Exclude<Node, { kind: "leaf" }>, margin: string, openLevels: number, style: Style): Node {
  const inside = margin + style.unit;
  const lead = style.newline + inside;
  const tail = style.newline + margin;
  const laid = (inner: Node, column: number) => layOut(inner, inside, column, openLevels - 1, style);
  if (node.kind === "array") {
    const items = node.items.map((item) => placed(item, lead, laid(item.node, inside.length)));
    return relaid(node, { kind: "array", items, tail });
  }
  const entries = node.entries.map((entry) =>
    placedEntry(entry, lead, laid(entry.node, inside.length + width(entry.rawKey) + 2)),
  );
  return relaid(node, { kind: "object", entries, tail });
}

/** A whole file in canonical layout; keys keep their order. */
export function layOutFile(tree: Tree): Tree {
  const root = layOut(tree.root, "", 0, OPEN_LEVELS);
  const same = root === tree.root && tree.before === "" && tree.after === "\n";
  return same ? tree : { before: "", root, after: "\n" };
}

/** Whether a file is laid out canonically, so that it shall stay so. */
export function isCanonical(tree: Tree): boolean {
  return layOutFile(tree) === tree;
}
