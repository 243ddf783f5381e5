/**
 * A JSON text as a tree that loses nothing: `write(parse(text)) === text`, to the byte.
 *
 * Trees are never changed; an edit makes new ones that share what stayed. So states of a history are cheap, and what
 * did not change is the same object as before.
 */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export type Leaf = { kind: "leaf"; raw: string };
export type Entry = { lead: string; key: string; rawKey: string; colon: string; node: Node };
export type Item = { lead: string; node: Node; trail: string };
/** `lead` is the white space before an entry, `trail` that before its comma, `tail` that before the closing bracket. */
export type ObjectNode = { kind: "object"; entries: (Entry & { trail: string })[]; tail: string };
export type ArrayNode = { kind: "array"; items: Item[]; tail: string };
export type Node = Leaf | ObjectNode | ArrayNode;
export type Tree = { before: string; root: Node; after: string };

/** What is no JSON, with the place where it stops being one. */
export class SyntaxProblem extends Error {
  readonly line: number;
  readonly column: number;

  constructor(
    message: string,
    readonly offset: number,
    text: string,
  ) {
    const place = lineColumn(text, offset);
    super(`${place.line}:${place.column}: ${message}`);
    this.line = place.line;
    this.column = place.column;
  }
}

export function lineColumn(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset);
  const start = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: offset - start + 1 };
}

/** Where a line and a column (both from 1) are in a text. */
export function offsetOf(text: string, line: number, column: number): number {
  let start = 0;
  for (let passed = 1; passed < line; passed++) {
    const next = text.indexOf("\n", start);
    if (next < 0) break;
    start = next + 1;
  }
  return Math.min(start + column - 1, text.length);
}

const SPACE = /[ \t\r\n]*/y;
const LITERAL = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const DEEPEST = 200;

/** Reads a text. Throws a SyntaxProblem that says where it is no JSON. */
export function parse(text: string): Tree {
  return new Reader(text).document();
}

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  document(): Tree {
    const before = this.text.startsWith("\ufeff") ? this.bom() + this.space() : this.space();
    const root = this.value(0);
    const after = this.space();
    if (this.at < this.text.length) throw this.problem("the document ends before this");
    return { before, root, after };
  }

  private bom(): string {
    this.at = 1;
    return "\ufeff";
  }

  private value(depth: number): Node {
    if (depth > DEEPEST) throw this.problem(`more than ${DEEPEST} levels`);
    const first = this.text[this.at];
    if (first === "{") return this.object(depth);
    if (first === "[") return this.array(depth);
    const raw = first === '"' ? this.match(STRING) : this.match(LITERAL);
    if (raw === null) throw this.problem(first === undefined ? "the text ends too early" : "a value is expected");
    return { kind: "leaf", raw };
  }

  private object(depth: number): ObjectNode {
    this.at++;
    const entries: ObjectNode["entries"] = [];
    const seen = new Set<string>();
    for (let lead = this.space(); ; lead = this.space()) {
      if (this.text[this.at] === "}" && entries.length === 0)
        return this.close({ kind: "object", entries, tail: lead });
      const rawKey = this.match(STRING);
      if (rawKey === null) throw this.problem("a name in double quotes is expected");
      const key = JSON.parse(rawKey) as string;
      if (seen.has(key)) throw this.problem(`the name "${key}" is there twice`);
      seen.add(key);
      const colon = this.colon();
      const node = this.value(depth + 1);
      const trail = this.space();
      if (this.text[this.at] === ",") {
        this.at++;
        entries.push({ lead, key, rawKey, colon, node, trail });
        continue;
      }
      if (this.text[this.at] !== "}") throw this.problem('"," or "}" is expected');
      entries.push({ lead, key, rawKey, colon, node, trail: "" });
      return this.close({ kind: "object", entries, tail: trail });
    }
  }

  private array(depth: number): ArrayNode {
    this.at++;
    const items: Item[] = [];
    for (let lead = this.space(); ; lead = this.space()) {
      if (this.text[this.at] === "]" && items.length === 0) return this.close({ kind: "array", items, tail: lead });
      const node = this.value(depth + 1);
      const trail = this.space();
      if (this.text[this.at] === ",") {
        this.at++;
        items.push({ lead, node, trail });
        continue;
      }
      if (this.text[this.at] !== "]") throw this.problem('"," or "]" is expected');
      items.push({ lead, node, trail: "" });
      return this.close({ kind: "array", items, tail: trail });
    }
  }

  private close<T>(node: T): T {
    this.at++;
    return node;
  }

  private colon(): string {
    const before = this.space();
    if (this.text[this.at] !== ":") throw this.problem('":" is expected');
    this.at++;
    return `${before}:${this.space()}`;
  }

  private space(): string {
    return this.match(SPACE) ?? "";
  }

  private match(pattern: RegExp): string | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found === null) return null;
    this.at += found[0].length;
    return found[0];
  }

  private problem(message: string): SyntaxProblem {
    return new SyntaxProblem(message, this.at, this.text);
  }
}

const written = new WeakMap<Node, string>();

/** The text of a node, as it was read or laid out. */
export function writeNode(node: Node): string {
  if (node.kind === "leaf") return node.raw;
  let text = written.get(node);
  if (text === undefined) {
    text = node.kind === "object" ? writeObject(node) : writeArray(node);
    written.set(node, text);
  }
  return text;
}

function writeObject(node: ObjectNode): string {
  const parts = node.entries.map(
    (entry) => entry.lead + entry.rawKey + entry.colon + writeNode(entry.node) + entry.trail,
  );
  return `{${parts.join(",")}${node.tail}}`;
}

function writeArray(node: ArrayNode): string {
  return `[${node.items.map((item) => item.lead + writeNode(item.node) + item.trail).join(",")}${node.tail}]`;
}

export function write(tree: Tree): string {
  return tree.before + writeNode(tree.root) + tree.after;
}

const values = new WeakMap<Node, Json>();
const origins = new WeakMap<object, Node>();

/** What a node says; the same object for the same node, so that what did not change stays the same. */
export function valueOf(node: Node): Json {
  let value = values.get(node);
  if (value === undefined) {
    value = read(node);
    values.set(node, value);
    if (value !== null && typeof value === "object") origins.set(value, node);
  }
  return value;
}

function read(node: Node): Json {
  if (node.kind === "leaf") return JSON.parse(node.raw) as Json;
  if (node.kind === "array") return node.items.map((item) => valueOf(item.node));
  // An ordinary assignment to "__proto__" would not make a property.
  return Object.fromEntries(node.entries.map((entry) => [entry.key, valueOf(entry.node)]));
}

/**
 * A value as a node, not laid out yet: all on one line. Objects and lists that were read from a text keep how numbers
 * and strings were written there: `4.0`, integers that JavaScript cannot hold.
 */
export function nodeOf(value: Json): Node {
  const origin = value !== null && typeof value === "object" ? origins.get(value) : undefined;
  if (origin !== undefined) return onOneLine(origin);
  if (Array.isArray(value)) {
    const items = value.map((item, index) => ({ lead: index === 0 ? "" : " ", node: nodeOf(item), trail: "" }));
    return { kind: "array", items, tail: "" };
  }
  if (value !== null && typeof value === "object") {
    const entries = Object.entries(value).map(([key, item], index) => entryOf(key, nodeOf(item), index));
    return { kind: "object", entries, tail: "" };
  }
  return { kind: "leaf", raw: typeof value === "number" ? numberText(value) : JSON.stringify(value) };
}

/** A number as Python writes it: 1e-05, where JavaScript has 0.00001. */
function numberText(value: number): string {
  if (value === 0 || Math.abs(value) >= 1e-4) return JSON.stringify(value);
  return value.toExponential().replace(/e-(\d)$/, "e-0$1");
}

/** A node without line breaks; white space as in canonical files. One that is so already stays the very object. */
export function onOneLine(node: Node): Node {
  if (node.kind === "leaf") return node;
  if (node.kind === "array") {
    const items = node.items.map((item, at) => placed(item, at ? " " : "", onOneLine(item.node)));
    return relaid(node, { kind: "array", items, tail: "" });
  }
  const entries = node.entries.map((entry, at) => placedEntry(entry, at ? " " : "", onOneLine(entry.node)));
  return relaid(node, { kind: "object", entries, tail: "" });
}

/** An item with other white space before it, and its node laid out anew; the very item if it is so already. */
export function placed(item: Item, lead: string, node: Node): Item {
  return item.lead === lead && item.trail === "" && item.node === node ? item : { lead, node, trail: "" };
}

export function placedEntry(
  entry: ObjectNode["entries"][number],
  lead: string,
  node: Node,
): ObjectNode["entries"][number] {
  const same = entry.lead === lead && entry.trail === "" && entry.colon === ": " && entry.node === node;
  return same ? entry : { ...entry, lead, colon: ": ", node, trail: "" };
}

/** A node that says the same as another and is only laid out anew: its value is the same object; so is it, if it can be. */
export function relaid(from: ObjectNode | ArrayNode, made: ObjectNode | ArrayNode): ObjectNode | ArrayNode {
  const [before, after] = [partsOf(from), partsOf(made)];
  if (from.tail === made.tail && before.every((part, at) => part === after[at])) return from;
  const value = values.get(from);
  if (value !== undefined) values.set(made, value);
  return made;
}

function partsOf(node: ObjectNode | ArrayNode): readonly unknown[] {
  return node.kind === "object" ? node.entries : node.items;
}

export function entryOf(key: string, node: Node, index: number): ObjectNode["entries"][number] {
  return { lead: index === 0 ? "" : " ", key, rawKey: JSON.stringify(key), colon: ": ", node, trail: "" };
}
