/** Bringing a loop that lies in files called by files up to where it can be branched: the nodes on the way are taken apart. */

import { type Edit, applyEdits } from "../document/edit";
import { type Tree, valueOf } from "../document/syntax";
import type { WorkflowFile } from "../document/workflow";
import { calledWorkflow } from "./graph";
import { type Loop, findLoops } from "./loops";
import { type Files, rootScope } from "./scope";
import { inlineWorkflow } from "./subworkflow";

export type Apart = {
  file: WorkflowFile;
  loop: Loop;
  /** What was done to the file, and the nodes that were taken apart; both empty where nothing had to be done. */
  edits: readonly Edit[];
  nodes: readonly string[];
};

/** A branch is made at a node that calls the file of the loop: the loop is the second part of its path. */
const DEPTH = 2;

/** The loop as the file has it once the nodes above it are taken apart; null where the file has no such loop. */
export function takenApart(tree: Tree, name: string, path: string, files: Files): Apart | null {
  const loops = (file: WorkflowFile) => findLoops(rootScope(name, file), files);
  const index = loops(valueOf(tree.root) as WorkflowFile).findIndex((loop) => loop.path === path);
  const edits: Edit[] = [];
  const nodes: string[] = [];
  for (let now = tree; index >= 0; now = applyEdits(tree, edits)) {
    const file = valueOf(now.root) as WorkflowFile;
    const loop = loops(file)[index]!;
    const parts = loop.path.split(".");
    const outermost = file.nodes[parts[0]!]!;
    const calls = parts.length > DEPTH && outermost.type === "workflow";
    const sub = calls ? files(calledWorkflow(outermost)) : undefined;
    if (sub === undefined) return { file, loop, edits, nodes };
    edits.push(...(inlineWorkflow(file, [], parts[0]!, sub).edits ?? []));
    nodes.push(parts[0]!);
  }
  return null;
}
