/** Two changed versions of a file brought together, entry by entry, by what both were made from. */

import { type Edit, type Path, applyEdits } from "./edit";
import { holdsEntries, inLayout, isThing } from "./parts";
import { type Json, type Node, type ObjectNode, parse, valueOf, write } from "./syntax";

/** A place that both changed, each in another way. `undefined`: the entry is not there. */
export type Conflict = { path: Path; base: Json | undefined; mine: Json | undefined; theirs: Json | undefined };
export type Merged = { text: string; conflicts: Conflict[] };

type Three = { base: Node | undefined; mine: Node | undefined; theirs: Node | undefined };
type Result = { edits: Edit[]; conflicts: Conflict[] };

/**
 * Brings my changes into their text, whose formatting stays. Where both changed the same entry, mine is in the text, and
 * the conflict is listed; places of drawings never conflict. Throws a SyntaxProblem for what is no JSON.
 */
export function merge3(base: string, mine: string, theirs: string): Merged {
  const [from, own, other] = [parse(base), parse(mine), parse(theirs)];
  const result: Result = { edits: [], conflicts: [] };
  bring({ base: from.root, mine: own.root, theirs: other.root }, [], result);
  return { text: write(applyEdits(other, result.edits)), conflicts: result.conflicts };
}

/** The edits that settle a conflict in a merged file. */
export function resolve(conflict: Conflict, choice: "mine" | "theirs"): Edit[] {
  const value = conflict[choice];
  if (value === undefined) return [{ op: "remove", path: conflict.path, when: "there" }];
  return [{ op: "set", path: conflict.path, value }];
}

function bring(three: Three, path: Path, result: Result): void {
  const { base, mine, theirs } = three;
  if (alike(mine, base) || alike(mine, theirs)) return;
  if (
    mine?.kind === "object" &&
    theirs?.kind === "object" &&
    holdsEntries(path) &&
    (base?.kind === "object" || !isThing(path))
  ) {
    return bringEntries({ base, mine, theirs }, path, result);
  }
  if (!alike(theirs, base) && !inLayout(path)) {
    result.conflicts.push({ path, base: said(base), mine: said(mine), theirs: said(theirs) });
  }
  put(mine, path, result, undefined);
}

function bringEntries(
  three: { base: Node | undefined; mine: ObjectNode; theirs: ObjectNode },
  path: Path,
  result: Result,
): void {
  const { base, mine, theirs } = three;
  const own = mine.entries.map((entry) => entry.key);
  const names = new Set([...own, ...theirs.entries.map((entry) => entry.key)]);
  for (const name of names) {
    const inner = { base: at(base, name), mine: at(mine, name), theirs: at(theirs, name) };
    const fresh = inner.theirs === undefined && inner.base === undefined && inner.mine !== undefined;
    if (fresh) put(inner.mine, [...path, name], result, follower(own, name, theirs));
    else bring(inner, [...path, name], result);
  }
}

/** The entry of theirs before which a new one of mine goes: the first that follows it in mine, where names are free. */
function follower(own: readonly string[], name: string, theirs: ObjectNode): string | undefined {
  const there = new Set(theirs.entries.map((entry) => entry.key));
  return own.slice(own.indexOf(name) + 1).find((other) => there.has(other));
}

function put(mine: Node | undefined, path: Path, result: Result, before: string | undefined): void {
  if (mine === undefined) result.edits.push({ op: "remove", path, when: "there" });
  else
    result.edits.push({ op: "set", path, value: valueOf(mine), like: mine, ...(before !== undefined && { before }) });
}

function at(node: Node | undefined, name: string): Node | undefined {
  return node?.kind === "object" ? node.entries.find((entry) => entry.key === name)?.node : undefined;
}

function said(node: Node | undefined): Json | undefined {
  return node === undefined ? undefined : valueOf(node);
}

/** Whether two nodes say the same; 4 and 4.0, and integers that JavaScript cannot tell apart, are not the same. */
function alike(a: Node | undefined, b: Node | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined || a.kind !== b.kind) return false;
  if (a.kind === "leaf") return a.raw === (b as typeof a).raw || (a.raw.startsWith('"') && valueOf(a) === valueOf(b));
  if (a.kind === "array") {
    const items = (b as typeof a).items;
    return a.items.length === items.length && a.items.every((item, index) => alike(item.node, items[index]!.node));
  }
  const other = b as ObjectNode;
  return (
    a.entries.length === other.entries.length && a.entries.every((entry) => alike(entry.node, at(other, entry.key)))
  );
}
