/**
 * Bringing a loop that lies in files called by files, or in a map, up to where it can be branched: the nodes on the way
 * are taken apart, and of a map the item that is looked at gets nodes of its own.
 */

import { type Edit, applyEdits } from "../document/edit";
import type { Values } from "../document/history";
import { type Tree, valueOf } from "../document/syntax";
import type { WorkflowFile } from "../document/workflow";
import { calledWorkflow } from "./graph";
import { type Loop, findLoops } from "./loops";
import { type Item, itemOf, itemOut } from "./mapItem";
import type { Iterations } from "./origin";
import { type Files, rootScope } from "./scope";
import { inlineWorkflow } from "./subworkflow";

export type Apart = {
  file: WorkflowFile;
  loop: Loop;
  /** What was done to the file, the nodes that were taken apart, and the items that got nodes; empty where nothing had to be done. */
  edits: readonly Edit[];
  nodes: readonly string[];
  items: readonly Item[];
};

/** Which run is looked at: the iterations of the maps around the loop, and the values of the file's inputs. */
export type Seen = { at: Iterations; values: Values };

/** The loop as the file has it once the nodes above it are taken apart; null where the file has no such loop. Throws NoSeam. */
export function takenApart(tree: Tree, name: string, path: string, files: Files, { at, values }: Seen): Apart | null {
  const loopsOf = (file: WorkflowFile) => findLoops(rootScope(name, file), files);
  const whole = path.split(".");
  const edits: Edit[] = [];
  const nodes: string[] = [];
  const items: Item[] = [];
  let index = loopsOf(valueOf(tree.root) as WorkflowFile).findIndex((loop) => loop.path === path);
  for (let now = tree; index >= 0; now = applyEdits(tree, edits)) {
    const file = valueOf(now.root) as WorkflowFile;
    const loops = loopsOf(file);
    const loop = loops[index]!;
    const [first, second, ...deeper] = loop.path.split(".");
    const outermost = file.nodes[first!]!;
    // A branch is made at a node that calls the file of the loop: only what is deeper is taken apart.
    const sub = deeper.length > 0 && outermost.type === "workflow" ? files(calledWorkflow(outermost)) : undefined;
    if (outermost.type === "map") {
      const number = at[whole.slice(0, whole.length - deeper.length - 1).join(".")] ?? 0;
      const item = itemOf(file, first!, number, values);
      edits.push(...itemOut(file, item, second!));
      items.push(item);
      // Its loops come after all others, in the order that they have in the map.
      index += loops.length - loops.findIndex((one) => one.path.startsWith(`${first}.`));
    } else if (sub !== undefined) {
      edits.push(...(inlineWorkflow(file, [], first!, sub).edits ?? []));
      nodes.push(first!);
    } else return { file, loop, edits, nodes, items };
  }
  return null;
}
