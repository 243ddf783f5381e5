/** What tests of the graph work on: the shipped workflows, and the node types (a Python test holds the list to them). */

import { readdirSync, readFileSync } from "node:fs";
import type { NodeType } from "../src/api/types";
import type { Path } from "../src/document/edit";
import { type Json, parse, valueOf } from "../src/document/syntax";
import type { WorkflowFile } from "../src/document/workflow";
import { type Graph, INPUTS, OUTPUTS, type Surroundings, readGraph } from "../src/graph/graph";
import { linksIn } from "../src/graph/references";

type Listed = {
  inputs: Record<string, { type: string; required: boolean; literal: boolean }>;
  outputs: Record<string, string>;
};

const listed = JSON.parse(readFileSync(new URL("fixtures/nodes.json", import.meta.url), "utf8")) as Record<
  string,
  Listed
>;
const types = Object.entries(listed).map(([name, { inputs, outputs }]): NodeType => ({
  name, short_name: name.split("/").at(-1)!, category: "", doc: "", pure: true, single: false, hooks: [], inputs,
  outputs: Object.fromEntries(Object.entries(outputs).map(([output, type]) => [output, { type }])),
})); // prettier-ignore

export const catalog = new Map(types.flatMap((type) => [[type.name, type] as const, [type.short_name, type] as const]));

const folder = new URL("../../../workflows/", import.meta.url);
export const shipped = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .map((name) => name.replace(/\.json$/, ""));
export const textOf = (name: string) => readFileSync(new URL(`${name}.json`, folder), "utf8");
export const fileOf = (text: string) => valueOf(parse(text).root) as unknown as WorkflowFile;

export type Files = ReadonlyMap<string, WorkflowFile>;
export const files: Files = new Map(shipped.map((name) => [name, fileOf(textOf(name))]));

export function surroundings(known: Files = files): Surroundings {
  const workflows = new Map([...known].map(([name, file]) => [name, summary(file)]));
  return { catalog, workflows, types: {}, prefix: "", inputTypes: {} };
}

function summary(file: WorkflowFile) {
  const inputs = Object.entries(file.inputs ?? {}).map(([name, one]) => [name, {
    type: one.type ?? "any", required: !("default" in one), default: (one.default ?? null) as Json, description: one.description ?? "",
    minimum: one.minimum ?? null, maximum: one.maximum ?? null, enum: one.enum ?? null,
  }] as const); // prettier-ignore
  return {
    title: file.title ?? "",
    description: file.description ?? "",
    inputs: Object.fromEntries(inputs),
    outputs: Object.keys(file.outputs ?? {}),
  };
}

export function graphOf(file: WorkflowFile, body: Path = [], around: Surroundings = surroundings()): Graph {
  return readGraph(file, body, around);
}

/** The paths of all levels of a file: its own, and those of bodies. */
export function levelsOf(file: WorkflowFile, body: Path = []): Path[] {
  const level = body.reduce<unknown>((held, step) => (held as Record<string, unknown>)[step], file) as WorkflowFile;
  const inner = Object.entries(level.nodes ?? {}).filter(([, entry]) => entry.body !== undefined);
  return [body, ...inner.flatMap(([name]) => levelsOf(file, [...body, "nodes", name, "body"]))];
}

/** Links of a file that lead nowhere: to a node, an input or an output that is not there. */
export function dangling(file: WorkflowFile, around: Surroundings = surroundings()): string[] {
  return levelsOf(file).flatMap((body) => {
    const graph = readGraph(file, body, around);
    const declared = new Map(graph.nodes.map((node) => [node.id, outputsOf(node.id, graph, around)]));
    return graph.nodes.flatMap((node) =>
      node.inputs.flatMap((port) =>
        linksIn(port.source).flatMap(({ from }) =>
          leads(from, declared) ? [] : [`${[...body, node.id, port.id].join(".")} from ${from}`],
        ),
      ),
    );
  });
}

function leads(from: string, declared: ReadonlyMap<string, readonly string[]>): boolean {
  if (/^(inputs|each|carry)\.|^index$/.test(from)) return declared.get(INPUTS)!.includes(from);
  const [name = "", output] = from.split(".");
  const outputs = declared.get(name);
  return outputs !== undefined && (output === undefined ? outputs.length === 1 : outputs.includes(output));
}

/** The outputs that a node has by its type; the graph shows those too that links ask of it. */
function outputsOf(id: string, graph: Graph, around: Surroundings): string[] {
  const node = graph.nodes.find((one) => one.id === id)!;
  const type = around.catalog.get(node.type);
  if (type) return Object.keys(type.outputs);
  if (node.kind === "workflow")
    return [...(around.workflows.get(node.entry!.path!.replace(/\.json$/, ""))?.outputs ?? [])];
  if (node.kind === "switch" || id === INPUTS || id === OUTPUTS) return node.outputs.map((port) => port.id);
  const { carry, collect, outputs } = node.entry?.body ?? {};
  return Object.keys({ ...carry, ...collect, ...outputs });
}
