/** Names of nodes, ports and inputs: what files accept, and how new ones are made. */

import { EditProblem } from "../document/edit";
import type { Body, WorkflowFile } from "../document/workflow";

const NAME = /^[A-Za-z_][A-Za-z0-9_-]*$/;

/** What links use for something else than a node. */
const SCOPE_NAMES = new Set(["inputs", "each", "carry", "index"]);

/** Why a name cannot be given to a node; null where it can. `taken`: the names that are there. */
export function nodeNameProblem(name: string, taken: Iterable<string>): string | null {
  if (SCOPE_NAMES.has(name))
    return `A node cannot be called "${name}": links use this name for something else. Call it "${name}_".`;
  return nameProblem(name, taken);
}

/** Why a name cannot be given to a port, an input or an output; null where it can. */
export function nameProblem(name: string, taken: Iterable<string>): string | null {
  if (!NAME.test(name)) return `"${name}" is no name: a letter or _ comes first, then letters, digits, _ and -.`;
  if (new Set(taken).has(name)) return `"${name}" is there already. Choose another name.`;
  return null;
}

/** Refuses what is no name, in words for people. */
export function refuse(problem: string | null): void {
  if (problem !== null) throw new EditProblem(problem);
}

/** A name for a new node of a level: `unet`, `unet_2`, ... */
export function newName(level: WorkflowFile | Body, base: string): string {
  return freeNodeName(base, Object.keys(level.nodes ?? {}));
}

/** A name for a node that is not taken yet. */
export function freeNodeName(base: string, taken: Iterable<string>): string {
  return freeName(base, [...taken, ...SCOPE_NAMES]);
}

/** A name that is not taken yet. */
export function freeName(base: string, taken: Iterable<string>): string {
  const used = new Set(taken);
  const start = asName(base);
  for (let number = 1; ; number++) {
    const name = number === 1 ? start : `${start}_${number}`;
    if (!used.has(name)) return name;
  }
}

/** A text with all that no name may have made `_`; "node" where nothing is left. */
export function asName(text: string): string {
  if (NAME.test(text)) return text;
  const made = text.replace(/[^A-Za-z0-9_-]+/g, "_").replace(/^[^A-Za-z]+|_+$/g, "");
  return made === "" ? "node" : made;
}
