/** Any edits, one after the other: the file stays sound after each, and undo gives every byte of it back. */

import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isCanonical } from "../src/document/canonical";
import { same } from "../src/document/edit";
import { type History, apply, begin, redo, undo } from "../src/document/history";
import { type Json, parse, valueOf, write } from "../src/document/syntax";
import type { WorkflowFile } from "../src/document/workflow";
import { type Surroundings, levelAt, readGraph } from "../src/graph/graph";
import { handwritten } from "./handwritten";
import { OPERATIONS, type Step, type World, changeOf, steps } from "./operations";
import { dangling, files, levelsOf, shipped, surroundings, textOf } from "./world";

const valueIn = (history: History) => valueOf(history.now.tree.root) as unknown as WorkflowFile;
const textIn = (history: History) => write(history.now.tree);

function sound(before: History, after: History, world: World, canonical: boolean, step: Step): void {
  const text = textIn(after);
  const file = valueIn(after);
  expect(isDeepStrictEqual(valueOf(parse(text).root), file), step.name).toBe(true);
  expect(isDeepStrictEqual(JSON.parse(text.replace(/^\ufeff/, "")), file), step.name).toBe(true);
  if (canonical) expect(isCanonical(after.now.tree), step.name).toBe(true);
  const around = surroundings(world.files);
  expect(dangling(file, around).join(", "), step.name).toBe("");
  untouched(valueIn(before), file);
  graphs(file, around);
}

/** What an edit left as it was is the very object that it was. */
function untouched(before: WorkflowFile, after: WorkflowFile): void {
  for (const body of levelsOf(before)) {
    const [was, is] = [levelAt(before, body), levelAt(after, body)];
    for (const [name, entry] of Object.entries(was?.nodes ?? {})) {
      const now = is?.nodes[name];
      if (now !== undefined && same(now as unknown as Json, entry as unknown as Json)) expect(now).toBe(entry);
    }
  }
}

/** The graph of every level can be read; read once more it is made of the very same objects. */
function graphs(file: WorkflowFile, around: Surroundings): void {
  for (const body of levelsOf(file)) {
    const graph = readGraph(file, body, around);
    const again = readGraph(file, body, { ...around });
    expect(again.nodes.every((node, at) => node === graph.nodes[at])).toBe(true);
    expect(again.links.every((link, at) => link === graph.links[at])).toBe(true);
    expect(new Set(graph.links.map((link) => link.id)).size).toBe(graph.links.length);
  }
}

/** The operations that changed something in these tests. */
const happened = new Set<string>();

function play(text: string, sequence: readonly Step[], canonical: boolean): History {
  const start = begin(text);
  const known = new Map(files);
  let history = start;
  sequence.forEach((step, at) => {
    const world = { file: valueIn(history), files: known };
    const change = changeOf(step, world, known);
    const next = change ? apply(history, change, at * 10_000) : history;
    if (next !== history) happened.add(step.name);
    sound(history, next, world, canonical, step);
    history = next;
  });
  return history;
}

function backAndForth(text: string, end: History): void {
  let history = end;
  while (history.past.length > 0) history = undo(history);
  expect(textIn(history)).toBe(text);
  expect(history.now.values).toEqual({});
  while (history.future.length > 0) history = redo(history);
  expect(textIn(history)).toBe(textIn(end));
  expect(history.now.values).toBe(end.now.values);
}

describe("random edits, then undo and redo of everything", () => {
  const cases = { numRuns: 100, seed: 5, includeErrorInReport: true };
  test("on canonical files", () => {
    const world = fc.record({ name: fc.constantFrom(...shipped), sequence: steps });
    fc.assert(
      fc.property(world, ({ name, sequence }) => backAndForth(textOf(name), play(textOf(name), sequence, true))),
      cases,
    );
  }, 120_000);
  test("on files as hands write them", () => {
    const world = fc.record({ name: fc.constantFrom(...shipped), sequence: steps, hand: fc.nat() });
    const run = (text: string, sequence: readonly Step[]) => backAndForth(text, play(text, sequence, false));
    fc.assert(
      fc.property(world, ({ name, sequence, hand }) => run(handwritten(textOf(name), hand), sequence)),
      cases,
    );
  }, 120_000);
  test("each operation had something to do", () => {
    expect([...happened].sort()).toEqual(Object.keys(OPERATIONS).sort());
  });
});

/** Files as they are after some edits: the Python side holds them to be canonical (tests/server/editor). */
const samples = fc.sample(fc.array(steps, { minLength: 2, maxLength: 2 }), { seed: 11, numRuns: 8 });
test.each(samples.map((two, at) => [shipped[at * 4]!, two.flat()] as const))(
  "%s after edits is a canonical file",
  async (name, sequence) => {
    const text = textIn(play(textOf(name), sequence, true));
    await expect(text).toMatchFileSnapshot(`../../../tests/server/editor/edited/${name}.json`);
  },
);
