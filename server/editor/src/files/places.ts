/** Where in the text of a file its nodes stand, and which node a line belongs to. */

import type { Path } from "../document/edit";
import { type Node, type ObjectNode, type Tree, writeNode } from "../document/syntax";

/** One node of a file: its body, its name, and its lines from 1, both ends counted. */
export type Place = { body: Path; name: string; from: number; to: number };

/** All nodes of a file at every depth; one that holds others comes before them. */
export function places(tree: Tree): Place[] {
  const found: Place[] = [];
  if (tree.root.kind === "object") readBody(tree.root, [], count(tree.before), found);
  return found;
}

/** The innermost node that a line belongs to. */
export function placeOfLine(all: readonly Place[], line: number): Place | undefined {
  return all.findLast((place) => place.from <= line && line <= place.to);
}

export function placeOf(all: readonly Place[], body: Path, name: string): Place | undefined {
  const key = JSON.stringify(body);
  return all.find((place) => place.name === name && JSON.stringify(place.body) === key);
}

/** Looks at the nodes of an object that begins on a line after so many others. */
function readBody(body: ObjectNode, path: Path, before: number, found: Place[]): void {
  for (const { entry, value } of entries(body, before)) {
    if (entry.key !== "nodes" || entry.node.kind !== "object") continue;
    for (const node of entries(entry.node, value)) readNode(node, path, found);
  }
}

function readNode({ entry, name, value }: Placed, body: Path, found: Place[]): void {
  found.push({ body, name: entry.key, from: name + 1, to: value + lines(entry.node) + 1 });
  if (entry.node.kind !== "object") return;
  for (const inner of entries(entry.node, value)) {
    if (inner.entry.key !== "body" || inner.entry.node.kind !== "object") continue;
    readBody(inner.entry.node, [...body, "nodes", entry.key, "body"], inner.value, found);
  }
}

/** An entry, with the numbers of lines that end before its name, and before its value. */
type Placed = { entry: ObjectNode["entries"][number]; name: number; value: number };

function* entries(node: ObjectNode, before: number): Generator<Placed> {
  let passed = before;
  for (const entry of node.entries) {
    const name = passed + count(entry.lead);
    const value = name + count(entry.colon);
    yield { entry, name, value };
    passed = value + lines(entry.node) + count(entry.trail);
  }
}

function lines(node: Node): number {
  return node.kind === "leaf" ? 0 : count(writeNode(node));
}

function count(text: string): number {
  let found = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) found++;
  return found;
}
