/** Random operations of people on a file, for tests that do many one after the other. */

import * as fc from "fast-check";
import type { Path } from "../src/document/edit";
import type { Change } from "../src/document/history";
import type { Json } from "../src/document/syntax";
import type { WorkflowFile } from "../src/document/workflow";
import { copy, paste } from "../src/graph/clipboard";
import * as edits from "../src/graph/edits";
import { type Graph, type GraphNode, INPUTS, OUTPUTS, levelAt } from "../src/graph/graph";
import { inlineWorkflow, makeSubworkflow } from "../src/graph/subworkflow";
import { type Files, catalog, fileOf, graphOf, levelsOf, surroundings } from "./world";

/** What an operation works on; `files` takes new files. */
export type World = { file: WorkflowFile; files: Map<string, WorkflowFile> };
type Scene = World & { body: Path; graph: Graph; picks: Picks };
type Operation = (scene: Scene) => Change | null;

/** Choices among what is there, drawn before it is known what is there. */
class Picks {
  private at = 0;
  constructor(private readonly drawn: readonly number[]) {}
  number(below: number): number {
    return below === 0 ? 0 : (this.drawn[this.at++ % this.drawn.length] ?? 0) % below;
  }
  one<T>(items: readonly T[]): T | undefined {
    return items[this.number(items.length)];
  }
  some<T>(items: readonly T[]): T[] {
    const start = this.number(items.length);
    return items.slice(start, start + 1 + this.number(4));
  }
}

const inner = (graph: Graph) => graph.nodes.filter((node) => node.entry !== null);
const names = (graph: Graph) => inner(graph).map((node) => node.id);
const withPorts = (graph: Graph) => graph.nodes.filter((node) => node.inputs.length > 0);
const loops = (graph: Graph) => inner(graph).filter((node) => node.kind === "loop" || node.kind === "map");
const VALUES: Json[] = [
  null,
  true,
  0,
  7,
  0.1,
  1e-7,
  1e21,
  -2.5,
  "",
  "a cat",
  'é"\\\u0001😀',
  [],
  {},
  [1, [2.5, "x"]],
  { a: { b: [] } },
];
const PIXELS = [0, 12, -340.6, 1280.5];

function point(picks: Picks): [number, number] {
  return [picks.one(PIXELS)!, picks.one(PIXELS)!];
}

function ancestors(graph: Graph, id: string): Set<string> {
  const found = new Set([id]);
  for (const one of found) for (const link of graph.links) if (link.to === one) found.add(link.from);
  return found;
}

export const OPERATIONS: Record<string, Operation> = {
  add({ file, body, graph, picks }) {
    const type = picks.one(["loop", "map", "switch", "workflow", ...catalog.keys()])!;
    const options = type === "workflow" ? { path: "denoise.json" } : {};
    return edits.addNode(file, body, type, point(picks), { ...options, graph }).change;
  },
  addFrom({ file, body, graph, picks }) {
    const node = picks.one(graph.nodes.filter((one) => one.outputs.length > 0))!;
    const from = { node: node.id, output: picks.one(node.outputs)!.id };
    const type = picks.one(["loop", "map", "switch", "encode_text"])!;
    return edits.addNode(file, body, type, point(picks), {
      graph,
      from: type === "encode_text" ? { ...from, input: "tokens" } : from,
    }).change;
  },
  addTo({ file, body, graph, picks }) {
    const node = picks.one(withPorts(graph));
    if (node === undefined) return null;
    const to = { node: node.id, input: picks.one(node.inputs)!.id, output: "unet" };
    return edits.addNode(file, body, "load_model", point(picks), { graph, to, known: catalog.get("load_model")! })
      .change;
  },
  connect({ body, graph, picks }) {
    const from = picks.one(graph.nodes.filter((one) => one.outputs.length > 0))!;
    const before = ancestors(graph, from.id);
    const to = picks.one(withPorts(graph).filter((one) => !before.has(one.id)));
    if (to === undefined) return null;
    return edits.connect(
      graph,
      body,
      { node: from.id, output: picks.one(from.outputs)!.id },
      { node: to.id, input: picks.one(to.inputs)!.id },
    );
  },
  disconnect({ body, graph, picks }) {
    const link = picks.one(graph.links);
    return link ? edits.disconnect(graph, body, link.to, link.input, picks.number(2) ? link.item : undefined) : null;
  },
  remove: ({ file, body, graph, picks }) => edits.removeNodes(file, body, picks.some(names(graph))),
  removeAll: ({ body, graph, picks }) =>
    edits.removeAll(graph, body, picks.some(names(graph)), picks.some(graph.links)),
  rename({ file, body, graph, picks }) {
    const name = picks.one(names(graph));
    return name
      ? edits.renameNode(
          file,
          body,
          name,
          edits.newName(levelAt(file, body)!, picks.one(["constructor", "ä b", name])!),
        )
      : null;
  },
  setInput({ body, graph, picks }) {
    const node = picks.one(inner(graph).filter((one) => one.inputs.length > 0));
    const port = node && picks.one(node.inputs.filter((one) => one.section === "inputs"));
    return port ? edits.setInput(body, node, port, picks.number(4) ? picks.one(VALUES) : undefined, "typing") : null;
  },
  setEntry({ body, graph, picks }) {
    const name = picks.one(names(graph));
    const key = picks.one(["title", "note", "mute", "bypass"] as const)!;
    const value =
      key === "title" || key === "note" ? picks.one(["", "Ein Titel", 'a "quoted" one']) : picks.number(2) === 1;
    return name ? edits.setEntry(body, name, key, value) : null;
  },
  move({ body, graph, picks }) {
    const all = Object.fromEntries(graph.nodes.map((node, at) => [node.id, [at * 200, 40.5] as [number, number]]));
    return edits.moveNodes(
      body,
      Object.fromEntries(picks.some(graph.nodes).map((node) => [node.id, point(picks)])),
      picks.number(2) ? all : {},
    );
  },
  layout({ body, graph, picks }) {
    if (picks.number(3) === 0)
      return edits.setLayout(body, picks.one(["notes", "positions", "frames", "collapsed"] as const)!, undefined);
    if (picks.number(2)) return edits.setLayout(body, "collapsed", picks.some(names(graph)));
    return edits.setLayout(body, "notes", {
      note1: { text: String(picks.one(VALUES)), at: point(picks), size: [200, 100] },
    });
  },
  addInput: ({ file, picks }) =>
    edits.addFileInput(
      file,
      picks.one(["fresh", "another", "seed_2"].filter((name) => !(name in (file.inputs ?? {})))) ??
        `more_${Object.keys(file.inputs ?? {}).length}`,
      { type: "number", default: 0.5 },
    ),
  removeInput({ file, picks }) {
    const name = picks.one(Object.keys(file.inputs ?? {}));
    return name ? edits.removeFileInput(file, name) : null;
  },
  renameInput({ file, picks }) {
    const name = picks.one(Object.keys(file.inputs ?? {}));
    return name
      ? edits.renameFileInput(
          file,
          name,
          `${name}_2`.slice(0, 40) in file.inputs! ? `${name}_x${Object.keys(file.inputs!).length}` : `${name}_2`,
          { [name]: 3 },
        )
      : null;
  },
  expose({ file, body, graph, picks }) {
    const node = picks.one(inner(graph).filter((one) => one.inputs.length > 0));
    return node ? edits.exposePort(file, body, node, picks.one(node.inputs)!).change : null;
  },
  addOutput({ file, body, graph, picks }) {
    const node = picks.one(inner(graph).filter((one) => one.outputs.length > 0));
    return node
      ? edits.addOutput(
          file,
          body,
          `${node.id}.${picks.one(node.outputs)!.id}`,
          picks.one(["image", "out", "latents"])!,
        ).change
      : null;
  },
  removeOutput({ file, body, graph, picks }) {
    const port = picks.one(graph.nodes.find((node) => node.id === OUTPUTS)!.inputs);
    return port ? edits.removePort(file, body, OUTPUTS, port) : null;
  },
  renameOutput({ file, body, graph, picks }) {
    const ports = graph.nodes.find((node) => node.id === OUTPUTS)!.inputs;
    const port = picks.one(ports);
    return port
      ? edits.renamePort(
          file,
          body,
          OUTPUTS,
          port,
          freeAmong(
            `${port.name}_b`,
            ports.map((one) => one.name),
          ),
        )
      : null;
  },
  addPort({ file, body, graph, picks }) {
    const node = picks.one(loops(graph));
    if (node === undefined) return null;
    const section = picks.one(
      node.kind === "loop" ? (["inputs", "each", "carry"] as const) : (["inputs", "each"] as const),
    )!;
    return edits.addLoopPort(file, body, node.id, section, picks.one(["latents", "times", "fresh"])!).change;
  },
  addCollect({ file, body, graph, picks }) {
    const node = picks.one(loops(graph));
    const name = node && picks.one(Object.keys(node.entry!.body!.nodes));
    const inside =
      node &&
      graphOf(file, [...body, "nodes", node.id, "body"], surroundings(new Map())).nodes.find((one) => one.id === name);
    if (node === undefined || inside === undefined || inside.outputs.length === 0 || inside.kind === "workflow")
      return null;
    return edits.addLoopPort(file, body, node.id, node.kind === "loop" ? "collect" : "outputs", "kept", {
      from: `${name}.${inside.outputs[0]!.id}`,
    }).change;
  },
  removePort({ file, body, graph, picks }) {
    const found = loopPort(graph, body, picks);
    return found ? edits.removePort(file, body, found.node.id, found.port) : null;
  },
  renamePort({ file, body, graph, picks }) {
    const found = loopPort(graph, body, picks);
    const taken = graph.nodes.flatMap((node) => [...node.inputs, ...node.outputs].map((port) => port.name));
    return found
      ? edits.renamePort(file, body, found.node.id, found.port, freeAmong(`${found.port.name}_r`, taken))
      : null;
  },
  duplicate({ file, body, graph, picks }) {
    const text = copy(file, body, picks.some(names(graph)), {});
    return paste(file, body, text, point(picks)).change;
  },
  pasteElsewhere({ file, body, graph, picks }) {
    const text = copy(
      file,
      body,
      picks.some(names(graph)),
      Object.fromEntries(graph.nodes.map((node) => [node.id, [5, 6] as [number, number]])),
    );
    return paste(file, picks.one(levelsOf(file))!, text, point(picks)).change;
  },
  make(scene) {
    const { file, body, graph, picks } = scene;
    const name = `made_${scene.files.size}`;
    try {
      const made = makeSubworkflow(file, body, picks.some(names(graph)), name, graph);
      scene.files.set(name, fileOf(made.text));
      return made.change;
    } catch (problem) {
      if (/stands between|no outputs|Select the nodes/.test(String(problem))) return null;
      throw problem;
    }
  },
  inline({ file, body, graph, picks, files }) {
    const node = picks.one(inner(graph).filter((one) => one.kind === "workflow" && !one.entry!.bypass));
    const called = node && files.get(node.entry!.path!.replace(/\.json$/, ""));
    return called ? inlineWorkflow(file, body, node.id, called) : null;
  },
  values: ({ picks }) => ({ values: { seed: picks.number(3) ? picks.number(100) : undefined }, label: "Seed" }),
};

function freeAmong(name: string, taken: readonly string[]): string {
  return taken.includes(name) ? freeAmong(`${name}_`, taken) : name;
}

/** A port of a loop, map or switch that can be removed and renamed, seen from outside or from within. */
function loopPort(graph: Graph, body: Path, picks: Picks) {
  const owners = inner(graph).filter((one) => ["loop", "map", "switch"].includes(one.kind));
  const ends: GraphNode[] = body.length > 0 ? graph.nodes.filter((one) => one.id === INPUTS || one.id === OUTPUTS) : [];
  const ports = [...owners, ...ends].flatMap((node) =>
    [...node.inputs, ...(node.kind === "switch" ? [] : node.outputs)].map((port) => ({ node, port })),
  );
  return picks.one(ports.filter(({ port }) => !["select", "times", "default", "index"].includes(port.id)));
}

export type Step = { name: string; level: number; drawn: number[] };

export const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    name: fc.constantFrom(...Object.keys(OPERATIONS)),
    level: fc.nat(6),
    drawn: fc.array(fc.nat(1000), { minLength: 6, maxLength: 6 }),
  }),
  { minLength: 1, maxLength: 14 },
);

/** The change that a step makes of a file as it stands; null where there is nothing to do it to. */
export function changeOf(step: Step, world: World, files: Files): Change | null {
  const picks = new Picks(step.drawn);
  const levels = levelsOf(world.file);
  const body = levels[step.level % levels.length]!;
  const graph = graphOf(world.file, body, surroundings(files));
  return OPERATIONS[step.name]!({ ...world, body, graph, picks });
}
