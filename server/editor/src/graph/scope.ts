/** Levels of a workflow and of the files that it calls, and the ways between them. */

import type { Path } from "../document/edit";
import type { Body, NodeEntry, WorkflowFile } from "../document/workflow";
import { calledWorkflow } from "./graph";

/** Workflow files by name without `.json`; undefined for those that are not there. */
export type Files = (name: string) => WorkflowFile | undefined;

/** A level: a file, or the body of a loop or map. */
export type Scope = {
  level: WorkflowFile | Body;
  file: string;
  body: Path;
  /** The nodes on the way from the file that is run. */
  path: readonly string[];
  /** The node that this level is the inside of; null for the file that is run. */
  owner: { scope: Scope; node: string; entry: NodeEntry } | null;
};

/** Files that call each other in a circle are wrong, and the checker says so; nobody goes deeper than this. */
const DEEPEST = 20;

export function rootScope(name: string, file: WorkflowFile): Scope {
  return { level: file, file: name, body: [], path: [], owner: null };
}

/** The inside of a node: its body, or the file that it calls; null where it has none or the file is not there. */
export function enter(scope: Scope, node: string, files: Files): Scope | null {
  const entry = scope.level.nodes?.[node];
  if (entry === undefined || scope.path.length >= DEEPEST) return null;
  const inner = { path: [...scope.path, node], owner: { scope, node, entry } };
  if (entry.body) return { ...inner, level: entry.body, file: scope.file, body: [...scope.body, "nodes", node, "body"] };
  if (entry.type !== "workflow") return null;
  const name = calledWorkflow(entry);
  const file = files(name);
  return file === undefined ? null : { ...inner, level: file, file: name, body: [] };
}

/** The level that a path of nodes leads into. */
export function enterAll(root: Scope, path: readonly string[], files: Files): Scope | null {
  return path.reduce<Scope | null>((scope, node) => scope && enter(scope, node, files), root);
}

/** Whether a level is a body, with items and carried values, and not a file. */
export function isBody(scope: Scope): boolean {
  return scope.owner !== null && scope.owner.entry.body !== undefined;
}

/** The names of the files that a workflow calls, at any depth, as far as their texts are there. */
export function calledFiles(root: Scope, files: Files): string[] {
  const found = new Set<string>();
  const look = (nodes: Record<string, NodeEntry> | undefined) => {
    for (const entry of Object.values(nodes ?? {})) {
      look(entry.body?.nodes);
      const name = entry.type === "workflow" ? calledWorkflow(entry) : "";
      if (name === "" || found.has(name)) continue;
      found.add(name);
      look(files(name)?.nodes);
    }
  };
  look(root.level.nodes);
  return [...found];
}
