/** Linking without a pointer: the output, the node and its input, chosen from lists. */

import type { GraphNode, Port } from "../graph/graph";
import { mayFit, plain } from "../graph/types";
import { typeColor } from "../parts/typeColor";
import { useStore } from "../state/store";
import { inspectOutput, selectedNodes, unlink } from "./actions";
import { choiceOf } from "./adding";
import { type Choice, canvas, shownLevel } from "./canvasState";
import { link } from "./linking";

/** A list to choose from; where there is but one, it is chosen at once. */
function ask(title: string, options: Choice[], none: string): void {
  if (options.length === 0) useStore.getState().say("info", none);
  else if (options.length === 1) options[0]!.choose();
  else canvas.set({ choice: { title, options } });
}

export function chooseLink(): void {
  const node = selectedNodes()[0]!;
  const options = node.outputs.map((port): Choice => ({
    id: port.id, label: port.name, detail: plain(port.type), color: typeColor(port.type), choose: () => chooseTarget(node, port),
  })); // prettier-ignore
  ask(`Which output of ${named(node)}?`, options, `${named(node)} has no outputs.`);
}

const named = (node: GraphNode) => node.title || node.id;

/** Looks at the value of an output in the inspector. */
export function chooseInspected(): void {
  const node = selectedNodes()[0]!;
  const options = node.outputs.map((port): Choice => ({
    id: port.id, label: port.name, detail: plain(port.type), color: typeColor(port.type), choose: () => inspectOutput(node.id, port.id),
  })); // prettier-ignore
  ask(`Look at which output of ${named(node)}?`, options, `${named(node)} has no outputs.`);
}

function chooseTarget(from: GraphNode, output: Port): void {
  const fitting = (node: GraphNode) => node.inputs.filter((port) => mayFit(output.type, port.type));
  const targets = shownLevel().graph.nodes.filter((node) => node.id !== from.id && fitting(node).length > 0);
  const free = (node: GraphNode) => fitting(node).filter((port) => port.source === undefined && plain(port.type) === plain(output.type)).length;
  const options = targets.sort((a, b) => free(b) - free(a)).map((node): Choice => ({
    id: node.id, label: named(node), detail: node.type, choose: () => chooseInput(from, output, node, fitting(node)),
  })); // prettier-ignore
  ask(`Link ${output.name} to which node?`, options, `Nothing here takes ${plain(output.type)}.`);
}

function chooseInput(from: GraphNode, output: Port, node: GraphNode, ports: readonly Port[]): void {
  const options = ports.map((port) =>
    choiceOf(node.id, port, () => void link({ node: from.id, output: output.id }, { node: node.id, input: port.id })),
  );
  ask(`Which input of ${named(node)}?`, options, "");
}

export function chooseUnlink(): void {
  const node = selectedNodes()[0]!;
  const { graph } = shownLevel();
  const links = graph.links.filter((one) => one.to === node.id || one.from === node.id);
  const options = links.flatMap((one): Choice[] => {
    const port = graph.nodes.find((other) => other.id === one.to)?.inputs.find((other) => other.id === one.input);
    if (port === undefined) return [];
    return [{ id: one.id, label: `${one.from} → ${one.to}.${port.name}`, detail: plain(port.type), choose: () => unlink(one.to, port) }];
  });
  ask(`Remove which link of ${named(node)}?`, options, `${named(node)} has no links.`);
}
