/** The denoising loops of a workflow, wherever they are: in the file that is run or in files that it calls. */

import type { PortTypes } from "../api/types";
import { type Body, type NodeEntry, isReference } from "../document/workflow";
import { type Files, type Scope, enter } from "./scope";

export type Loop = {
  /** The static path of its node: `denoise.loop`. */
  path: string;
  /** The level that it stands in. */
  scope: Scope;
  node: string;
  entry: NodeEntry;
  body: Body;
  /** Which of its carried values are the latents. */
  latents: string;
  /** The nodes of the body that make the latents of a step, and the guided prediction, as `node.output`. */
  step: string;
  prediction: string | null;
};

/** Types of nodes as a file names them, with or without the plugin they come from. */
export function isType(entry: NodeEntry | undefined, name: string): boolean {
  return entry?.type === name || entry?.type === `stepgraph/${name}`;
}

/** All loops that carry latents, in the order of the files. `types`: what the checker found out, where it did. */
export function findLoops(scope: Scope, files: Files, types: Readonly<Record<string, PortTypes>> = {}): Loop[] {
  return Object.entries(scope.level.nodes ?? {}).flatMap(([node, entry]) => {
    const own = entry.type === "loop" ? readLoop(scope, node, entry, types) : null;
    const inner = enter(scope, node, files);
    return [...(own ? [own] : []), ...(inner ? findLoops(inner, files, types) : [])];
  });
}

function readLoop(scope: Scope, node: string, entry: NodeEntry, types: Readonly<Record<string, PortTypes>>): Loop | null {
  const { body } = entry;
  if (body === undefined) return null;
  const path = [...scope.path, node].join(".");
  const outputs = types[path]?.outputs;
  const isLatents = (name: string) => (outputs?.[name] ? outputs[name] === "Latents" : name === "latents");
  const latents = Object.keys(body.carry ?? {}).find(isLatents);
  const step = latents === undefined ? undefined : body.carry?.[latents];
  if (latents === undefined || !isReference(step)) return null;
  return { path, scope, node, entry, body, latents, step: step.from, prediction: predictionOf(body) };
}

/** What the scheduler's step takes as the prediction. */
function predictionOf(body: Body): string | null {
  const source = stepNode(body)?.inputs?.noise_pred;
  return isReference(source) ? source.from : null;
}

function stepNode(body: Body): NodeEntry | undefined {
  return Object.values(body.nodes).find((entry) => isType(entry, "scheduler_step"));
}

/**
 * Where the body has x0-hat, the picture that a step foresees: a link to the node that predicts it, or else such a node,
 * which may be added. Null where the body has no step of a scheduler.
 */
export function originalOf(body: Body): { from: string; add: null } | { from: null; add: NodeEntry } | null {
  const there = Object.entries(body.nodes).find(([, entry]) => isType(entry, "predict_original"));
  if (there) return { from: there[0], add: null };
  const step = stepNode(body);
  return step ? { from: null, add: { type: "predict_original", inputs: { ...step.inputs } } } : null;
}
