/** Two versions of a file brought together. */

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { diffWorkflows } from "../src/document/diff";
import { type Edit, applyEdits } from "../src/document/edit";
import { apply, begin } from "../src/document/history";
import { merge3, resolve } from "../src/document/merge";
import { type Json, parse, valueOf, write } from "../src/document/syntax";
import { handwritten } from "./handwritten";
import { changeOf, steps } from "./operations";
import { files, fileOf, shipped, textOf } from "./world";

const edited = (text: string, ...edits: Edit[]) => write(applyEdits(parse(text), edits));
const valueIn = (text: string) => valueOf(parse(text).root);

/** A text after random edits of people. */
function played(text: string, sequence: Parameters<typeof changeOf>[0][]): string {
  const known = new Map(files);
  let history = begin(text);
  for (const step of sequence) {
    const change = changeOf(step, { file: fileOf(write(history.now.tree)), files: known }, known);
    if (change) history = apply(history, change, 0);
  }
  return write(history.now.tree);
}

const world = fc.record({ name: fc.constantFrom(...shipped), sequence: steps, hand: fc.nat() });
const RUNS = { numRuns: 60, seed: 8, includeErrorInReport: true };

describe("one side alone changed", () => {
  test("mine: the result says what mine says", () => {
    fc.assert(fc.property(world, ({ name, sequence, hand }) => {
      const base = handwritten(textOf(name), hand);
      const mine = played(base, sequence);
      const { text, conflicts } = merge3(base, mine, base);
      expect(valueIn(text)).toEqual(valueIn(mine));
      expect(conflicts).toEqual([]);
    }), RUNS); // prettier-ignore
  }, 60_000);
  test("theirs: the result is theirs, to the byte", () => {
    fc.assert(fc.property(world, ({ name, sequence, hand }) => {
      const base = textOf(name);
      const theirs = handwritten(played(base, sequence), hand);
      expect(merge3(base, base, theirs)).toEqual({ text: theirs, conflicts: [] });
      expect(merge3(base, theirs, theirs)).toEqual({ text: theirs, conflicts: [] });
    }), RUNS); // prettier-ignore
  }, 60_000);
});

const BASE = textOf("txt2img");

describe("both changed", () => {
  test("different nodes, inputs and ports: both are there, in their formatting", () => {
    const mine = edited(BASE,
      { op: "set", path: ["nodes", "noise", "title"], value: "Noise" },
      { op: "remove", path: ["nodes", "negative", "inputs", "aesthetic_score"] },
      { op: "set", path: ["inputs", "steps", "default"], value: 30 },
      { op: "set", path: ["nodes", "extra"], value: { type: "unet" }, before: "image" },
    ); // prettier-ignore
    const odd = BASE.replace('"eta": {\n      "type": "number",', '"eta": {   "type": "number",');
    const theirs = edited(odd,
      { op: "set", path: ["nodes", "negative", "inputs", "more"], value: 1 },
      { op: "set", path: ["inputs", "steps", "maximum"], value: 50 },
      { op: "remove", path: ["outputs", "latents"] },
    ); // prettier-ignore
    const { text, conflicts } = merge3(BASE, mine, theirs);
    const both = [
      [mine, theirs],
      [theirs, mine],
    ].map(([one, other]) => valueIn(merge3(BASE, one!, other!).text));
    expect(conflicts).toEqual([]);
    expect(both[0]).toEqual(both[1]);
    expect(text).toContain('"eta": {   "type": "number",');
    const file = fileOf(text);
    expect(file.nodes.noise!.title).toBe("Noise");
    expect(Object.keys(file.nodes.negative!.inputs!)).toEqual(["unet", "conditioning", "latents", "more"]);
    expect(file.inputs!.steps).toMatchObject({ default: 30, maximum: 50 });
    expect(Object.keys(file.nodes).slice(-2)).toEqual(["extra", "image"]);
    expect(file.outputs).toEqual({ image: { from: "image" } });
  });
  test("the same port: mine is taken, and the conflict says all three", () => {
    const path = ["inputs", "steps", "default"];
    const mine = edited(BASE, { op: "set", path, value: 30 });
    const theirs = edited(BASE, { op: "set", path, value: 40 });
    const { text, conflicts } = merge3(BASE, mine, theirs);
    expect(conflicts).toEqual([{ path, base: 20, mine: 30, theirs: 40 }]);
    expect(text).toBe(mine);
    expect(edited(text, ...resolve(conflicts[0]!, "theirs"))).toBe(theirs);
    expect(edited(text, ...resolve(conflicts[0]!, "mine"))).toBe(mine);
  });
  test("I removed what they changed: a conflict of the whole node", () => {
    const mine = edited(BASE, { op: "remove", path: ["nodes", "tokens"] });
    const theirs = edited(BASE, { op: "set", path: ["nodes", "tokens", "title"], value: "Tokens" });
    const { text, conflicts } = merge3(BASE, mine, theirs);
    expect(conflicts).toMatchObject([{ path: ["nodes", "tokens"], mine: undefined, theirs: { title: "Tokens" } }]);
    expect(text).toBe(mine);
    expect(valueIn(edited(text, ...resolve(conflicts[0]!, "theirs")))).toEqual(valueIn(theirs));
    const turned = merge3(BASE, theirs, mine);
    expect(edited(turned.text, ...resolve(turned.conflicts[0]!, "theirs"))).toBe(mine);
  });
  test("two nodes of one name are one conflict, no mixture", () => {
    const path = ["nodes", "fresh"];
    const mine = edited(BASE, { op: "set", path, value: { type: "a", inputs: { x: 1 } } });
    const theirs = edited(BASE, { op: "set", path, value: { type: "b", inputs: { y: 2 } } });
    const { text, conflicts } = merge3(BASE, mine, theirs);
    expect(conflicts.map((one) => one.path)).toEqual([path]);
    expect(fileOf(text).nodes.fresh).toEqual({ type: "a", inputs: { x: 1 } });
  });
  test("places never conflict", () => {
    const at = (x: number): Edit => ({ op: "set", path: ["layout", "positions", "image"], value: [x, 0] });
    const { text, conflicts } = merge3(edited(BASE, at(1)), edited(BASE, at(2)), edited(BASE, at(3)));
    expect(conflicts).toEqual([]);
    expect(text).toBe(edited(BASE, at(2)));
  });
  test("numbers come over as they were written", () => {
    const path = ["inputs", "seed", "default"];
    const big = BASE.replace(
      '"default": 0,\n      "description": "Another seed',
      '"default": 18446744073709551615,\n      "description": "Another seed',
    );
    const theirs = edited(BASE, { op: "set", path: ["title"], value: "Theirs" });
    expect(merge3(BASE, big, theirs).text).toBe(edited(big, { op: "set", path: ["title"], value: "Theirs" }));
    const bigger = big.replace("551615", "551614");
    expect(merge3(BASE, big, bigger).conflicts.map((one) => one.path)).toEqual([path]);
  });
});

describe("the diff of two workflows", () => {
  test("names nodes, and what of them was added, removed and changed", () => {
    const denoise = textOf("denoise");
    const step = ["nodes", "loop", "body", "nodes", "step"];
    const other = edited(denoise,
      { op: "set", path: [...step, "inputs", "eta"], value: 0.5 },
      { op: "remove", path: [...step, "inputs", "timestep"] },
      { op: "set", path: ["inputs", "guidance_scale", "default"], value: 5 },
      { op: "set", path: ["layout", "positions", "loop"], value: [1, 2] },
      { op: "set", path: ["nodes", "more"], value: { type: "unet" } },
    ); // prettier-ignore
    expect(diffWorkflows(fileOf(denoise), fileOf(other))).toEqual([
      { node: "", path: ["inputs", "guidance_scale", "default"], kind: "changed", before: 7.5, after: 5 },
      {
        node: "loop.step",
        path: [...step, "inputs", "timestep"],
        kind: "removed",
        before: { from: "each.timestep" },
        after: undefined,
      },
      { node: "loop.step", path: [...step, "inputs", "eta"], kind: "added", before: undefined, after: 0.5 },
      { node: "more", path: ["nodes", "more"], kind: "added", before: undefined, after: { type: "unet" } },
    ]);
  });
  test("is empty for one file, however it is written", () => {
    for (const name of shipped)
      expect(diffWorkflows(files.get(name)!, fileOf(handwritten(textOf(name), 7)))).toEqual([]);
  });
  test("tells of every difference: undoing them gives the first file", () => {
    fc.assert(fc.property(world, ({ name, sequence }) => {
      const [before, after] = [textOf(name), played(textOf(name), sequence)];
      const back = diffWorkflows(fileOf(before), fileOf(after)).map((one): Edit =>
        one.kind === "added" ? { op: "remove", path: one.path } : { op: "set", path: one.path, value: one.before as Json });
      expect(diffWorkflows(fileOf(before), fileOf(edited(after, ...back)))).toEqual([]);
    }), RUNS); // prettier-ignore
  }, 60_000);
});
