/** Going into loops, maps and sub-workflows, and out again. */

import { type GraphNode, calledWorkflow } from "../graph/graph";
import { currentTab } from "../state/documents";
import { useStore } from "../state/store";
import { tell } from "./canvasState";

export function isOpenable(node: GraphNode): boolean {
  return node.entry?.body !== undefined || (node.kind === "workflow" && node.entry !== null && calledWorkflow(node.entry) !== "");
}

/** Shows the body of a loop or map, or the file that a workflow node calls. */
export async function openNode(node: GraphNode): Promise<void> {
  const { enterBody, enterFile, say } = useStore.getState();
  if (node.entry?.body !== undefined) enterBody(node.id);
  else if (node.entry !== null && isOpenable(node)) {
    try {
      await enterFile(node.id, calledWorkflow(node.entry));
    } catch (problem) {
      return say("error", `${node.id} cannot be opened: ${(problem as Error).message}`);
    }
  }
  tell(`Inside ${node.title || node.id}`);
}

/** Back to the level around the one that is shown; what was left is selected there. */
export function leaveLevel(): void {
  const state = useStore.getState();
  const { crumbs } = currentTab(state);
  const left = crumbs.at(-1)?.via.at(-1);
  if (crumbs.length < 2 || left === undefined) return;
  state.leaveTo(crumbs.length - 2);
  state.select([left]);
  tell(`Back from ${left}`);
}
