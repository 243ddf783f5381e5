/**
 * "Branch from here": two denoising loops for one. The first does the steps up to the branch, all of them from the cache;
 * the second goes on from its latents and its solver, and whatever it is given may differ. The original stays as it is.
 */

import type { Edit } from "../document/edit";
import type { Change } from "../document/history";
import type { Json } from "../document/syntax";
import { type InputDeclaration, type NodeEntry, type Point, type Source, type WorkflowFile, isReference } from "../document/workflow";
import { dependents, linksOfNode, needed, sourceNode } from "./flow";
import { type Loop, isType } from "./loops";
import { freeName } from "./names";
import { linksIn, splitReference } from "./references";
import { isBody } from "./scope";

/** A place of a node's entry that takes a value. */
export type Slot = { section: "inputs" | "each" | "carry"; name: string };

/** How a node of the file that is run takes part in a denoising loop that is it, or that lies in the file it calls. */
export type Seam = {
  node: string;
  timesteps: Slot;
  /** What the loop carries on: where it begins, and the output of the node where it ends. */
  carries: { name: string; start: Slot; end: string }[];
  /** Which of them are the latents. */
  latents: string;
  /** The file that the node calls; null for a loop of the file itself. */
  called: WorkflowFile | null;
};

/** Why there is no branching from a loop, in words for people. */
export class NoSeam extends Error {}

/** Where a loop can be taken apart. Throws NoSeam. */
export function seamOf(loop: Loop): Seam {
  const each = Object.entries(loop.entry.each ?? {});
  if (loop.entry.times !== undefined || each.length !== 1) {
    throw new NoSeam(`${loop.path} goes through ${each.length} lists; only a loop through one, its timesteps, can be branched.`);
  }
  if (loop.scope.owner === null) return ownSeam(loop, each[0]![0]);
  if (loop.scope.owner.scope.owner !== null || isBody(loop.scope)) {
    throw new NoSeam(`${loop.path} lies too deep: open ${loop.scope.owner.scope.file}.json and branch there, or take the node apart.`);
  }
  return calledSeam(loop, each[0]![1]);
}

function ownSeam(loop: Loop, each: string): Seam {
  const carries = Object.keys(loop.body.carry ?? {}).map((name) => ({
    name, start: { section: "carry" as const, name }, end: name,
  })); // prettier-ignore
  return { node: loop.node, timesteps: { section: "each", name: each }, carries, latents: loop.latents, called: null };
}

function calledSeam(loop: Loop, each: Source): Seam {
  const { owner, level, file } = loop.scope;
  const called = level as WorkflowFile;
  const input = (source: Source | undefined, what: string): Slot => {
    const [first, name] = isReference(source) ? splitReference(source.from) : [];
    if (first === "inputs" && name !== undefined) return { section: "inputs", name };
    throw new NoSeam(`${file}.json does not take the ${what} of its loop as an input; make it one, then branch.`);
  };
  const carries = Object.entries(loop.entry.carry ?? {}).map(([name, source]) => {
    const end = Object.entries(called.outputs ?? {}).find(([, out]) => isReference(out) && out.from === `${loop.node}.${name}`);
    if (end === undefined) throw new NoSeam(`${file}.json has no output for ${loop.node}.${name}; add one, then branch.`);
    return { name, start: input(source, name), end: end[0] };
  });
  return { node: owner!.node, timesteps: input(each, "timesteps"), carries, latents: loop.latents, called };
}

/** Something that may differ from the branch on: an input of the workflow, or a value that is written at the node. */
export type Setting = { from: "input" | "port"; name: string; declared: InputDeclaration; value: Json | undefined };

const LITERAL = new Set(["string", "integer", "number", "boolean", "path"]);

/** What may differ after the branch: what reaches the loop, but neither its schedule nor its start. */
export function settingsOf(file: WorkflowFile, seam: Seam): Setting[] {
  const entry = file.nodes[seam.node]!;
  const inputs = Object.entries(file.inputs ?? {}).filter(
    ([name, declared]) => LITERAL.has(declared.type ?? "any") && reaches(file, name, freeLinks(entry, seam)) && !reaches(file, name, seamLinks(entry, seam)),
  );
  const taken = new Set(inputs.map(([name]) => name));
  const ports = Object.entries(seam.called?.inputs ?? {}).filter(
    ([name, declared]) => LITERAL.has(declared.type ?? "any") && !taken.has(name) && linksIn(entry.inputs?.[name]).length === 0,
  );
  return [
    ...inputs.map(([name, declared]) => ({ from: "input" as const, name, declared, value: declared.default })),
    ...ports.map(([name, declared]) => ({ from: "port" as const, name, declared, value: (entry.inputs?.[name] as Json) ?? declared.default })),
  ];
}

/** Whether a value of an input of the file gets to one of these links. */
function reaches(file: WorkflowFile, input: string, links: readonly string[]): boolean {
  const from = `inputs.${input}`;
  const found = dependents(file.nodes, (link) => link === from);
  return links.some((link) => link === from || found.has(sourceNode(link)));
}

function slots(seam: Seam): Slot[] {
  return [seam.timesteps, ...seam.carries.map((carry) => carry.start)];
}

/** The links into the schedule and the start of a loop. */
function seamLinks(entry: NodeEntry, seam: Seam): string[] {
  return slots(seam).flatMap(({ section, name }) => linksIn(entry[section]?.[name]).map((link) => link.from));
}

/** The links into all else. */
function freeLinks(entry: NodeEntry, seam: Seam): string[] {
  const bound = new Set(slots(seam).map(({ section, name }) => `${section}.${name}`));
  return (["inputs", "each", "carry"] as const).flatMap((section) =>
    Object.entries(entry[section] ?? {}).flatMap(([name, source]) =>
      bound.has(`${section}.${name}`) ? [] : linksIn(source).map((link) => link.from),
    ),
  );
}

/** The nodes that draw the noise that a loop starts from, if its seed is an input of the file. */
export function noiseOf(file: WorkflowFile, seam: Seam): { node: string; input: string } | null {
  const start = needed(file.nodes, seamLinks(file.nodes[seam.node]!, seam));
  const drawing = [...start].filter((name) => isType(file.nodes[name], "init_noise"));
  const seeding = [...start].filter((name) => isType(file.nodes[name], "seed_generators"));
  const seed = seeding.length === 1 ? file.nodes[seeding[0]!]!.inputs?.seed : undefined;
  if (drawing.length !== 1 || !isReference(seed)) return null;
  const [first, input] = splitReference(seed.from);
  return first === "inputs" && input !== undefined ? { node: drawing[0]!, input } : null;
}

/** What somebody wants of a branch. */
export type Wish = {
  /** How many steps are kept. */
  at: number;
  inputs: Readonly<Record<string, Json>>;
  ports: Readonly<Record<string, Json>>;
  /** A seed: the finished picture is noised again, to the level of the branch, by the noise of this seed. */
  seed?: number;
  /** A node type that takes the latents between both loops in this input and gives them on in that output. */
  between?: { type: string; input: string; output: string; values: Record<string, Json> };
};

export type Branched = { change: Change; /** The new nodes. */ names: string[]; rest: string; outputs: string[] };

/** The change of a file that branches a loop. */
export function branch(file: WorkflowFile, seam: Seam, wish: Wish): Branched {
  return new Branching(file, seam, wish).done();
}

/**
 * Responsibilities: collect the nodes and outputs of one branch, each under a name that is free.
 */
class Branching {
  private readonly nodes: Record<string, NodeEntry> = {};
  private readonly outputs: Record<string, Source> = {};
  private readonly original: NodeEntry;
  /** Under which name the branch has a node of the file, where it has its own. */
  private readonly copies = new Map<string, string>();
  private readonly after: Set<string>;

  constructor(
    private readonly file: WorkflowFile,
    private readonly seam: Seam,
    private readonly wish: Wish,
  ) {
    this.original = file.nodes[seam.node]!;
    this.after = dependents(file.nodes, (from) => sourceNode(from) === seam.node);
  }

  done(): Branched {
    const rest = this.loops();
    this.copies.set(this.seam.node, rest);
    for (const name of this.differing()) this.copies.set(name, this.name(`${stem(name)}_branch`));
    for (const name of this.after) this.copies.set(name, this.name(`${stem(name)}_branch`));
    this.nodes[rest] = this.substituted(this.nodes[rest]!);
    for (const [name, copy] of this.copies) {
      if (name !== this.seam.node) this.nodes[copy] = this.substituted(this.file.nodes[name]!);
    }
    this.copyOutputs();
    return { change: this.change(), names: Object.keys(this.nodes), rest, outputs: Object.keys(this.outputs) };
  }

  /** Puts both loops; returns the name of the second. */
  private loops(): string {
    const { at } = this.wish;
    const { timesteps } = this.seam;
    const base = stem(this.seam.node);
    const split = this.put(`${base}_split`, {
      type: "split_timesteps", title: `Split after step ${at}`,
      inputs: { timesteps: this.original[timesteps.section]![timesteps.name]!, at },
    }); // prettier-ignore
    const first = this.put(`${base}_first`, this.loop(`up to step ${at}`, `${split}.first`, {}));
    const starts = Object.fromEntries(this.seam.carries.map(({ name, end }) => [name, `${first}.${end}`]));
    const changed = this.changedLatents(first, starts);
    const rest = this.loop(`from step ${at + 1}`, `${split}.rest`, { ...starts, ...changed });
    return this.put(`${base}_rest`, { ...rest, inputs: { ...rest.inputs, ...this.wish.ports } });
  }

  private loop(title: string, timesteps: string, starts: Record<string, string>): NodeEntry {
    const entry = structuredClone(this.original);
    setSlot(entry, this.seam.timesteps, timesteps);
    for (const { name, start } of this.seam.carries) if (starts[name]) setSlot(entry, start, starts[name]);
    return retitled(entry, this.original.title || this.seam.node, title);
  }

  /** Nodes between both loops, where somebody wants to change the latents there. */
  private changedLatents(first: string, starts: Record<string, string>): Record<string, string> {
    let latents = starts[this.seam.latents]!;
    if (this.wish.seed !== undefined) latents = this.noisedAgain(first, this.wish.seed);
    if (this.wish.between) {
      const { type, input, output, values } = this.wish.between;
      const node = this.put(type.replace(/^.*\//, ""), { type, inputs: { ...values, [input]: { from: latents } } });
      latents = output === "output" ? node : `${node}.${output}`;
    }
    return { [this.seam.latents]: latents };
  }

  private noisedAgain(first: string, seed: number): string {
    const noise = noiseOf(this.file, this.seam);
    const end = (name: string) => this.seam.carries.find((carry) => carry.name === name)?.end;
    const solver = end("solver");
    if (noise === null || solver === undefined) throw new NoSeam("The noise of this loop has no seed among the workflow's inputs.");
    const drawn = this.drawnBy(noise, seed);
    return this.put(`${stem(this.seam.node)}_noised`, {
      type: "noise_latents", title: "The picture, noised again",
      inputs: {
        solver: { from: `${first}.${solver}` }, latents: { from: `${this.seam.node}.${end(this.seam.latents)}` },
        noise: { from: `${drawn}.noise` },
      },
    }); // prettier-ignore
  }

  /** Copies of the nodes from the seed to the noise, for another seed; returns the name of the last. */
  private drawnBy(noise: { node: string; input: string }, seed: number): string {
    const from = `inputs.${noise.input}`;
    const seeded = dependents(this.file.nodes, (link) => link === from);
    const chain = [...needed(this.file.nodes, [noise.node])].filter((name) => seeded.has(name));
    const names = new Map(chain.map((name) => [name, this.name(`${stem(name)}_branch`)]));
    for (const [name, copy] of names) {
      this.nodes[copy] = mapLinks(this.file.nodes[name]!, (link) => (link === from ? seed : renamed(link, names)));
    }
    return names.get(noise.node)!;
  }

  /** The nodes before the second loop that get other values than those before the first one. */
  private differing(): string[] {
    const changed = new Set(Object.keys(this.wish.inputs).map((name) => `inputs.${name}`));
    const differ = dependents(this.file.nodes, (link) => changed.has(link));
    const later = [...this.after].flatMap((name) => linksOfNode(this.file.nodes[name]!));
    const used = needed(this.file.nodes, [...freeLinks(this.original, this.seam), ...later]);
    const free = (name: string) => name !== this.seam.node && !this.after.has(name);
    return Object.keys(this.file.nodes).filter((name) => differ.has(name) && used.has(name) && free(name));
  }

  /** A node as the branch has it: other values for inputs that differ, and its own copies of what came before. */
  private substituted(entry: NodeEntry): NodeEntry {
    return mapLinks(entry, (link) => {
      const [first, name] = splitReference(link);
      if (first === "inputs" && name !== undefined && Object.hasOwn(this.wish.inputs, name)) return this.wish.inputs[name]!;
      return renamed(link, this.copies);
    });
  }

  private copyOutputs(): void {
    for (const [name, source] of Object.entries(this.file.outputs ?? {})) {
      const links = linksIn(source).map((link) => sourceNode(link.from));
      if (!links.some((node) => node === this.seam.node || this.after.has(node))) continue;
      const taken = [...Object.keys(this.file.outputs ?? {}), ...Object.keys(this.outputs)];
      this.outputs[freeName(`${stem(name)}_branch`, taken)] = mapSource(source, (link) => renamed(link, this.copies));
    }
  }

  private put(base: string, entry: NodeEntry): string {
    const name = this.name(base);
    this.nodes[name] = entry;
    return name;
  }

  private name(base: string): string {
    const taken = [...Object.keys(this.file.nodes), ...Object.keys(this.nodes), ...this.copies.values()];
    return freeName(base, [...taken, "inputs", "each", "carry", "index"]);
  }

  private change(): Change {
    const nodes = Object.entries(this.nodes).map(([name, value]): Edit => ({ op: "set", path: ["nodes", name], value: value as Json }));
    const outputs = Object.entries(this.outputs).map(([name, value]): Edit => ({ op: "set", path: ["outputs", name], value: value as Json }));
    return { edits: [...nodes, ...outputs, ...this.placed()], label: `Branch from step ${this.wish.at + 1}` };
  }

  /** Where somebody placed the nodes of the file, the new ones go below all of them, as their models lie. */
  private placed(): Edit[] {
    const positions = this.file.layout?.positions;
    if (positions === undefined) return [];
    const model = new Map([...this.copies].map(([name, copy]) => [copy, positions[name]]));
    const low = Math.max(...Object.values(positions).map(([, y]) => y), 0) + DROP;
    const high = Math.min(...Object.values(positions).map(([, y]) => y), low);
    const [left, top] = positions[this.seam.node] ?? [0, high];
    const places = Object.keys(this.nodes).map((name, at): [string, Point] => {
      const [x, y] = model.get(name) ?? [left - ACROSS * (Object.keys(this.nodes).length - at), top];
      return [name, [x, y - high + low]];
    });
    return places.map(([name, place]) => ({ op: "set", path: ["layout", "positions", name], value: place }));
  }
}

/** Distance of the nodes of a branch from those above, and of its loops from each other. */
const DROP = 420;
const ACROSS = 120;

/** A name without what earlier branches added to it. */
function stem(name: string): string {
  return name.replace(/(_(branch|first|rest|split)(_\d+)?)+$/, "");
}

function retitled(entry: NodeEntry, of: string, title: string): NodeEntry {
  const plain = of.replace(/, (up to|from) step \d+$/, "");
  return { ...entry, title: `${plain}, ${title}` };
}

function setSlot(entry: NodeEntry, slot: Slot, from: string): void {
  entry[slot.section] = { ...entry[slot.section], [slot.name]: { from } };
}

function renamed(link: string, names: ReadonlyMap<string, string>): Source {
  const [first, rest] = splitReference(link);
  const name = names.get(first) ?? first;
  return { from: rest === undefined ? name : `${name}.${rest}` };
}

/** A node with other sources for the links that it takes its values from; links within its body are its own. */
function mapLinks(entry: NodeEntry, change: (link: string) => Source): NodeEntry {
  const made: NodeEntry = structuredClone(entry);
  for (const section of ["inputs", "each", "carry", "cases"] as const) {
    if (made[section]) made[section] = Object.fromEntries(Object.entries(made[section]).map(([name, source]) => [name, mapSource(source, change)]));
  }
  for (const section of ["select", "times", "default"] as const) {
    if (made[section] !== undefined) made[section] = mapSource(made[section], change);
  }
  return made;
}

function mapSource(source: Source, change: (link: string) => Source): Source {
  if (isReference(source)) return change(source.from);
  return Array.isArray(source) ? source.map((item) => mapSource(item, change) as Json) : source;
}
