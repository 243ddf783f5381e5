/** Which ports of a node stand in which row, and which are folded away. Sockets come first, side by side; then fields. */

import { type GraphNode, INPUTS, type Port } from "../graph/graph";
import { isReference } from "../document/workflow";

export type Row = { input?: Port; output?: Port; field: boolean };
export type Rows = { rows: Row[]; hidden: number };

/** Fields beyond this number are folded away. */
export const MOST_FIELDS = 7;

export function isLinked(port: Port): boolean {
  return isReference(port.source);
}

/** An input that a run needs and that nothing gives. */
export function isMissing(port: Port): boolean {
  return port.required && port.source === undefined;
}

export function rowsOf(node: GraphNode, unfolded: boolean): Rows {
  if (node.id === INPUTS) return { rows: node.outputs.map((output) => ({ output, field: output.literal })), hidden: 0 };
  if (node.kind === "missing") return { rows: paired(node.inputs.filter(isLinked), node.outputs), hidden: 0 };
  const sockets = node.inputs.filter((port) => !port.literal);
  const literals = node.inputs.filter((port) => port.literal);
  const shown = unfolded ? literals : folded(literals);
  const plain = shown.findIndex((port) => !isLinked(port));
  const links = plain < 0 ? shown : shown.slice(0, plain);
  const fields = plain < 0 ? [] : shown.slice(plain);
  const rows = [...paired([...sockets, ...links], node.outputs), ...fields.map((input) => ({ input, field: !isLinked(input) }))];
  const all = literals.length - folded(literals).length;
  return { rows, hidden: all };
}

/** Inputs at the left and outputs at the right of the same rows. */
function paired(inputs: readonly Port[], outputs: readonly Port[]): Row[] {
  const count = Math.max(inputs.length, outputs.length);
  return Array.from({ length: count }, (_, at) => ({ input: inputs[at], output: outputs[at], field: false }));
}

/** Literal ports without those that nobody set, and without fields beyond the first few. */
function folded(literals: readonly Port[]): Port[] {
  let fields = 0;
  return literals.filter((port) => {
    if (isLinked(port) || isMissing(port)) return true;
    return port.source !== undefined && ++fields <= MOST_FIELDS;
  });
}
