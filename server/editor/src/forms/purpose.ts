/** What the text of a port names (a model, a picture, a mask), decided by where it goes. */

import type { NodeType } from "../api/types";
import { type Source, type WorkflowFile, isReference } from "../document/workflow";
import type { Json } from "../document/syntax";
import type { Purpose } from "./control";

/** A port as far as its purpose needs it. */
export type Named = { name: string; type: string; help?: string };
type Catalog = ReadonlyMap<string, NodeType>;

const PATHS = new Set(["Path", "path"]);
const WORDS: readonly [Purpose, RegExp][] = [
  ["model", /model|vae|lora|controlnet|adapter|encoder|classifier|inversion|checkpoint/i],
  ["mask", /mask/i],
  ["picture", /image|picture|photo|map/i],
];

/** The purpose of an input of a node type; undefined for what is no path. */
export function purposeIn(type: NodeType | undefined, port: Named): Purpose | undefined {
  const path = PATHS.has(port.type) || (port.type === "str" && /(^|_)path$/.test(port.name));
  if (!path) return undefined;
  const gives = Object.values(type?.outputs ?? {}).map((output) => output.type);
  if (gives.includes("Mask")) return "mask";
  if (gives.some((one) => one === "Image" || one === "LabelMap")) return "picture";
  return type?.category === "model" ? "model" : "file";
}

/** The purpose of an input of a workflow: that of what takes it, else what its name says. */
export function purposeOfInput(file: WorkflowFile | undefined, port: Named, catalog: Catalog): Purpose | undefined {
  for (const { type, port: taker } of takersOf(file, port.name, catalog)) {
    const found = purposeIn(type, taker);
    if (found) return found;
  }
  if (!PATHS.has(port.type)) return undefined;
  const says = (text: string) => WORDS.find(([, words]) => words.test(text))?.[0];
  return says(port.name) ?? says(port.help ?? "") ?? "file";
}

type Taker = { type: NodeType; port: Named };

/** The ports of known node types that an input of a file goes to, straight away or through switches. */
export function takersOf(file: WorkflowFile | undefined, name: string, catalog: Catalog): Taker[] {
  return takers(file?.nodes ?? {}, `inputs.${name}`, catalog, new Set());
}

function takers(nodes: WorkflowFile["nodes"], from: string, catalog: Catalog, seen: Set<string>): Taker[] {
  if (seen.has(from)) return []; // switches in a circle, which the checker complains of
  seen.add(from);
  const is = (source: Source | undefined) => isReference(source) && source.from === from;
  return Object.entries(nodes).flatMap(([name, entry]) => {
    if (entry.type === "switch") {
      const passes = [...Object.values(entry.cases ?? {}), entry.default].some(is);
      return passes ? takers(nodes, name, catalog, seen) : [];
    }
    const type = catalog.get(entry.type);
    const ports = Object.keys(entry.inputs ?? {}).filter((port) => type?.inputs[port] && is(entry.inputs?.[port]));
    return type ? ports.map((port) => ({ type, port: { name: port, ...type.inputs[port]! } })) : [];
  });
}

/** Names in a port's help that stand for models without a file: `builtin:emoji`, `random:sd15`. */
export function namesIn(help: string): string[] {
  return [
    ...new Set([...help.matchAll(/\b(?:builtin|random):[a-z][\w.-]*/g)].map(([name]) => name.replace(/[.-]+$/, ""))),
  ];
}

/** The picture that a mask of a workflow belongs to: the first input or loaded picture of its file that is one. */
export function pictureIn(
  file: WorkflowFile,
  values: Readonly<Record<string, Json>>,
  catalog: Catalog,
): Json | undefined {
  for (const [name, declared] of Object.entries(file.inputs ?? {})) {
    const port = { name, type: declared.type ?? "any", help: declared.description };
    if (purposeOfInput(file, port, catalog) === "picture") return values[name] ?? declared.default;
  }
  const loads = Object.values(file.nodes).filter((entry) => catalog.get(entry.type)?.short_name === "load_image");
  return loads.map((entry) => entry.inputs?.path).find((path): path is string => typeof path === "string");
}

/** The input of a workflow that takes a mask. */
export function maskInput(file: WorkflowFile, catalog: Catalog): string | undefined {
  const inputs = Object.entries(file.inputs ?? {});
  const ports = inputs.map(([name, one]) => ({ name, type: one.type ?? "any", help: one.description }));
  return ports.find((port) => purposeOfInput(file, port, catalog) === "mask")?.name;
}
