/** What becomes of an open file when the one on the server's disk is another than before: nothing of either is lost. */

import type { Stored } from "../api/client";
import { applyEdits, same } from "../document/edit";
import { replaceText } from "../document/history";
import { type Conflict, merge3, resolve as settling } from "../document/merge";
import { type Json, parse, SyntaxProblem, valueOf, write } from "../document/syntax";
import { type Doc, textOf } from "../state/documents";

/** Both sides changed the same: the version on the disk, what it was merged to, and what somebody has to decide. */
export type Clash = { name: string; stored: Stored; merged: string; conflicts: readonly Conflict[] };
export type Choice = "mine" | "theirs";

export type Outcome =
  | { kind: "same"; doc: Doc }
  | { kind: "taken"; doc: Doc; changes: string[] }
  | { kind: "merged"; doc: Doc; changes: string[] }
  | { kind: "clash"; clash: Clash }
  | { kind: "unreadable"; message: string };

/** An open file and the one on the disk. `base` is the text that both were made from. */
export function reconcile(doc: Doc, stored: Stored, base: string, time: number): Outcome {
  const { text, version } = stored;
  const mine = textOf(doc);
  const seen = { ...doc, saved: text, version };
  if (text === mine) return { kind: "same", doc: seen };
  if (text === base) return { kind: "same", doc: { ...doc, saved: base, version } };
  const unreadable = whyUnreadable(text);
  if (unreadable) return { kind: "unreadable", message: unreadable };
  const told = changes(base, text);
  if (mine === base) return { kind: "taken", doc: withText(seen, text, time), changes: told };
  // Of a base that was no JSON nothing is known to be unchanged: all that differs is asked about.
  const { text: merged, conflicts } = merge3(whyUnreadable(base) ? "{}" : base, mine, text);
  if (conflicts.length > 0) return { kind: "clash", clash: { name: doc.name, stored, merged, conflicts } };
  return { kind: "merged", doc: withText(seen, merged, time), changes: told };
}

function withText(doc: Doc, text: string, time: number): Doc {
  return { ...doc, history: replaceText(doc.history, text, "Changed on the disk", time) };
}

/** Why a text is no JSON; empty where it is. */
export function whyUnreadable(text: string): string {
  try {
    parse(text);
    return "";
  } catch (problem) {
    if (problem instanceof SyntaxProblem) return problem.message;
    throw problem;
  }
}

/** The file after somebody decided on each conflict, as an unsaved change of the version on the disk. */
export function resolve(doc: Doc, clash: Clash, choices: readonly Choice[], time: number): Doc {
  const text = resolvedText(clash, choices);
  return withText({ ...doc, saved: clash.stored.text, version: clash.stored.version }, text, time);
}

/** The merged text holds mine already; for theirs it is changed. */
export function resolvedText(clash: Clash, choices: readonly Choice[]): string {
  const edits = clash.conflicts.flatMap((conflict, at) => (choices[at] === "theirs" ? settling(conflict, "theirs") : []));
  return write(applyEdits(parse(clash.merged), edits));
}

/** What another version of a file has otherwise, in words: names of nodes, and parts of the file such as its title. */
export function changes(before: string, after: string): string[] {
  const [was, is] = [fileOf(before), fileOf(after)];
  const parts = differing(was, is).filter((part) => part !== "nodes");
  const nodes = differing(entriesOf(was.nodes), entriesOf(is.nodes)).map((name) => `node ${name}`);
  return [...parts, ...nodes];
}

function differing(was: Record<string, Json>, is: Record<string, Json>): string[] {
  return [...new Set([...Object.keys(was), ...Object.keys(is)])].filter((name) => {
    const [one, other] = [was[name], is[name]];
    return one === undefined || other === undefined || !same(one, other);
  });
}

function fileOf(text: string): Record<string, Json> {
  return whyUnreadable(text) ? {} : entriesOf(valueOf(parse(text).root));
}

function entriesOf(value: Json | undefined): Record<string, Json> {
  return value !== null && typeof value === "object" && !Array.isArray(value) ? value : {};
}

/** A document whose file is gone from the disk: all of it is unsaved. */
export function orphaned(doc: Doc): Doc {
  return { ...doc, saved: null, version: null, shipped: false };
}

/** The text that a document and a file of its name on the disk have in common; null where nobody knows. */
export function baseOf(doc: Doc, lost: ReadonlyMap<string, string>): string | null {
  return doc.saved ?? lost.get(doc.name) ?? null;
}

/** Names in a sentence: the first few, and how many more. */
export function named(names: readonly string[]): string {
  const most = 4;
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}

