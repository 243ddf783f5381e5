/** Writing values of ports, from wherever they are set. */

import type { Json } from "../document/syntax";
import { setInput } from "../graph/edits";
import { type GraphNode, INPUTS, type Port, nodePath } from "../graph/graph";
import type { Crumb } from "../state/documents";
import { useStore } from "../state/store";

/** Sets the value of a port; quick changes one after the other are one step of undo. */
export function writePort(crumb: Crumb, node: GraphNode, port: Port, value: Json | undefined): void {
  const { change } = useStore.getState();
  const group = `${crumb.doc}:${nodePath(crumb.body, node.id)}.${port.id}`;
  if (node.id === INPUTS)
    return change({ values: { [port.name]: value }, label: `Set ${port.name}`, group }, crumb.doc);
  change(setInput(crumb.body, node, port, value, group), crumb.doc);
}

/** Whether the values for the next run go to the inputs of a level: that of the file that is run. */
export function isRun(crumb: Crumb): boolean {
  return crumb.body.length === 0 && crumb.via.length === 0;
}

/** Does what may be refused (a name that is taken, say), and tells the reason. */
export function attempt(action: () => void): string | null {
  try {
    action();
    return null;
  } catch (problem) {
    return problem instanceof Error ? problem.message : String(problem);
  }
}
