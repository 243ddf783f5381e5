/** A selection as a workflow of its own that one node calls, and back. */

import { flushSync } from "react-dom";
import { api } from "../api/client";
import { calledWorkflow } from "../graph/graph";
import { nameProblem } from "../graph/names";
import { inlineWorkflow, makeSubworkflow } from "../graph/subworkflow";
import { fileOf } from "../state/documents";
import { useStore } from "../state/store";
import { selectedNames, selectedNodes } from "./actions";
import { canvas, shownLevel, tell } from "./canvasState";

export function askForSubworkflow(): void {
  const names = selectedNames();
  canvas.set({
    name: {
      title: names.length === 1 ? `A sub-workflow of ${names[0]}` : `A sub-workflow of ${names.length} nodes`,
      label: "Name of the new workflow", value: "", submit: (name) => makeOf(names, name),
    },
  }); // prettier-ignore
}

/** Saves the new file first: a node that calls a file which is not there would be a mistake. */
async function makeOf(names: readonly string[], name: string): Promise<void> {
  const { file, crumb, graph, doc } = shownLevel();
  const state = useStore.getState();
  const problem = nameProblem(name, [...state.workflows.map((one) => one.name), ...Object.keys(state.docs)]);
  if (problem !== null) throw new Error(problem);
  const { change, text, node } = makeSubworkflow(file, crumb.body, names, name, graph);
  await api.save(name, text, null);
  await state.loadWorkflows();
  flushSync(() => state.change(change, doc.name));
  state.select([node]);
  state.say("success", `${name} is saved; ${node} calls it. Enter opens it.`);
}

/** Puts the nodes of the workflow that a node calls in its place. The file stays as it is. */
export async function inlineSelected(): Promise<void> {
  const node = selectedNodes()[0];
  if (node === undefined || node.entry === null || node.kind !== "workflow") return;
  const state = useStore.getState();
  const name = calledWorkflow(node.entry);
  await state.load(name);
  const sub = useStore.getState().docs[name];
  if (sub === undefined) return;
  const { file, crumb, doc } = shownLevel();
  state.change(inlineWorkflow(file, crumb.body, node.id, fileOf(sub)), doc.name);
  state.select([]);
  tell(`${node.id} became the nodes of ${name}`);
}
