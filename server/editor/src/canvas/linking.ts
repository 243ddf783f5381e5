/** Links, made only if the server's checker has nothing against them. */

import { ApiProblem, api } from "../api/client";
import type { Problem } from "../api/types";
import { applyEdits } from "../document/edit";
import type { Change } from "../document/history";
import { write } from "../document/syntax";
import { connect, disconnect } from "../graph/edits";
import { type Graph, type Link, OUTPUTS, type Port } from "../graph/graph";
import { mayFit, plain } from "../graph/types";
import { asked } from "../state/checking";
import { rootDoc, runPath } from "../state/documents";
import type { Level } from "../state/level";
import { useStore } from "../state/store";
import { shownLevel, tell } from "./canvasState";
import { isAt } from "./flow";

export type From = { node: string; output: string };
export type To = { node: string; input: string };

/** Links an output to an input, or says in the checker's words why that cannot be. */
export async function link(from: From, to: To): Promise<boolean> {
  const level = shownLevel();
  return propose(connect(level.graph, level.crumb.body, from, to), from, to);
}

/** Moves a link to other ends: one step. */
export async function relink(old: Link, from: From, to: To): Promise<boolean> {
  const { graph, crumb } = shownLevel();
  const made = connect(graph, crumb.body, from, to);
  if (old.to === to.node && old.input === to.input) return propose(made, from, to);
  const taken = disconnect(graph, crumb.body, old.to, old.input, old.item);
  return propose({ ...made, edits: [...(taken.edits ?? []), ...(made.edits ?? [])] }, from, to);
}

/** Makes a change with a new link in it, unless the checker finds something new at the link's end. */
export async function propose(change: Change, from: From, to: To): Promise<boolean> {
  const level = shownLevel();
  const state = useStore.getState();
  const before = level.doc.history.now.tree;
  const refused = await refusalOf(change, level, from, to);
  if (refused !== null) {
    state.say("error", refused);
    return false;
  }
  const now = useStore.getState().docs[level.doc.name]?.history.now.tree;
  if (now !== before) {
    state.say("info", "The workflow changed in the meantime: draw the link again.");
    return false;
  }
  state.change(change, level.doc.name);
  tell(`Linked ${from.node} to ${to.node}, ${to.input}`);
  return true;
}

/** Why the checker is against a change, at the node and port that a link of it ends at; null if it is not. */
async function refusalOf(change: Change, level: Level, from: From, to: To): Promise<string | null> {
  const state = useStore.getState();
  const root = rootDoc(state);
  if (root === undefined) return null;
  const text = write(applyEdits(level.doc.history.now.tree, change.edits ?? []));
  const now = asked(state, root);
  const then = { ...now, files: { ...now.files, [`${level.doc.name}.json`]: text } };
  try {
    const [before, after] = await Promise.all([api.check(now), api.check(then)]);
    const known = new Set(before.problems.map(signature));
    return after.problems.find((one) => !known.has(signature(one)) && concerns(one, level, to))?.text ?? null;
  } catch (problem) {
    if (problem instanceof ApiProblem && problem.unreachable) return byNames(level.graph, from, to);
    throw problem;
  }
}

function signature(problem: Problem): string {
  return [problem.code, problem.node, problem.port, problem.message].join("|");
}

/** Whether a problem is about the end of a link: its port, what is within its node, or a cycle that it closes. */
function concerns(problem: Problem, level: Level, to: To): boolean {
  if (problem.code === "missing-input") return false;
  if (problem.code === "cycle") return true;
  const path = to.node === OUTPUTS ? level.crumb.via.join(".") : runPath(level.crumb, to.node);
  const port = level.graph.nodes.find((one) => one.id === to.node)?.inputs.find((one) => one.id === to.input);
  if (problem.node === path) return problem.port === "" || isAt(problem, port ?? { id: to.input, name: to.input });
  return path !== "" && problem.node.startsWith(`${path}.`);
}

/** Without the server, the names of the types decide. */
function byNames(graph: Graph, from: From, to: To): string | null {
  const output = portOf(graph, from.node, "outputs", from.output);
  const input = portOf(graph, to.node, "inputs", to.input);
  if (output === undefined || input === undefined || mayFit(output.type, input.type)) return null;
  return `${to.node}.${input.name} wants ${plain(input.type)}, and ${from.node}.${output.name} is ${plain(output.type)}.`;
}

export function portOf(graph: Graph, node: string, side: "inputs" | "outputs", id: string): Port | undefined {
  return graph.nodes.find((one) => one.id === node)?.[side].find((port) => port.id === id);
}
