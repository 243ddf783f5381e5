/** A selection as a file of its own, and back: the same graph; and what the checker is to accept. */

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isCanonical } from "../src/document/canonical";
import { applyEdits } from "../src/document/edit";
import type { Change } from "../src/document/history";
import { parse, write } from "../src/document/syntax";
import type { Reference, WorkflowFile } from "../src/document/workflow";
import { inlineWorkflow, makeSubworkflow } from "../src/graph/subworkflow";
import { usesOf } from "../src/graph/references";
import { files, fileOf, graphOf, levelsOf, shipped, textOf } from "./world";

/** What making workflows of shipped ones gives; the checker has to accept these very files (tests/server/editor). */
const made = "../../../tests/server/editor/made";

const changed = (text: string, change: Change) => write(applyEdits(parse(text), change.edits!));

/** A file with links that all name their output, as two spellings of one link are the same. */
function spelledOut(file: WorkflowFile): WorkflowFile {
  const copy = structuredClone(file);
  for (const body of levelsOf(copy)) {
    const graph = graphOf(copy, body);
    const level = body.reduce<unknown>((held, step) => (held as Record<string, unknown>)[step], copy) as WorkflowFile;
    for (const { path, from } of usesOf(level)) {
      const link = path.reduce<unknown>((held, step) => (held as Record<string, unknown>)[step], level) as Reference;
      const only = graph.nodes.find((node) => node.id === from)?.outputs[0]?.id;
      if (only !== undefined) link.from = `${from}.${only}`;
    }
  }
  return copy;
}

const selection = fc.record({
  name: fc.constantFrom(...shipped),
  level: fc.nat(3),
  start: fc.nat(20),
  count: fc.integer({ min: 1, max: 5 }),
});

describe("make a sub-workflow, then put it back", () => {
  test("the graph is the same", () => {
    let tried = 0;
    const property = fc.property(selection, ({ name, level, start, count }) => {
      const file = files.get(name)!;
      const levels = levelsOf(file);
      const body = levels[level % levels.length]!;
      const graph = graphOf(file, body);
      const names = graph.nodes.filter((node) => node.entry !== null).map((node) => node.id);
      const ids = names.slice(start % Math.max(names.length, 1)).slice(0, count);
      const result = attempt(() => makeSubworkflow(file, body, ids, "part", graph));
      if (result === null) return;
      tried++;
      const after = fileOf(changed(textOf(name), result.change));
      const inner = fileOf(result.text);
      const back = fileOf(
        changed(textOf(name), {
          ...result.change,
          edits: [...result.change.edits!, ...inlineWorkflow(after, body, result.node, inner).edits!],
        }),
      );
      expect(isCanonical(parse(result.text))).toBe(true);
      expect(spelledOut(back)).toEqual(spelledOut(file));
    });
    fc.assert(property, { numRuns: 120, seed: 3, includeErrorInReport: true });
    expect(tried).toBeGreaterThan(40);
  }, 60_000);
});

/** The result; null where the selection cannot be a workflow, with words that say why. */
function attempt<T>(run: () => T): T | null {
  try {
    return run();
  } catch (problem) {
    expect(String(problem)).toMatch(/stands between nodes|no outputs|Select the nodes/);
    return null;
  }
}

describe("what the checker accepts", () => {
  test.each([
    ["txt2img", [], ["tokens", "text", "positive"], "read_prompt"],
    ["txt2img", [], ["generators", "noise", "schedule", "start"], "begin"],
    ["sampler_comparison", ["nodes", "pictures", "body"], ["picture", "label"], "one_picture"],
    ["denoise", ["nodes", "loop", "body"], ["predict", "original", "step"], "one_step"],
    ["conditioning_switch", [], ["saved", "mixed", "nothing", "positive"], "choose"],
    ["variations", [], ["image", "sheet"], "show"],
  ])("%s %j: %j as a workflow", async (name, body, ids, part) => {
    const file = files.get(name)!;
    const result = makeSubworkflow(file, body, ids, part, graphOf(file, body));
    await expect(result.text).toMatchFileSnapshot(`${made}/${part}.json`);
    await expect(changed(textOf(name), result.change)).toMatchFileSnapshot(`${made}/${name}_${part}.json`);
  });
  test.each([
    ["txt2img", [], "denoise"],
    ["denoise", ["nodes", "loop", "body"], "predict"],
    ["sampler_comparison", ["nodes", "pictures", "body"], "picture"],
    ["conditioning_switch", [], "negative"],
  ])("%s %j with the nodes of %s", async (name, body, node) => {
    const file = files.get(name)!;
    const called =
      body.length === 0 ? file.nodes[node]! : graphOf(file, body).nodes.find((one) => one.id === node)!.entry!;
    const change = inlineWorkflow(file, body, node, files.get(called.path!.replace(".json", ""))!);
    await expect(changed(textOf(name), change)).toMatchFileSnapshot(`${made}/${name}_without_${node}.json`);
  });
});

test("a node between nodes of the selection is named", () => {
  const file = files.get("txt2img")!;
  expect(() => makeSubworkflow(file, [], ["tokens", "positive"], "part", graphOf(file))).toThrow(
    '"text" stands between',
  );
});

test("the inputs of the new file have the types and words of the ports that they go to", () => {
  const file = files.get("txt2img")!;
  const { text } = makeSubworkflow(file, [], ["noise"], "part", graphOf(file));
  expect(fileOf(text).inputs).toEqual({
    space: { type: "any" },
    generators: { type: "any" },
    width: { type: "integer" },
    height: { type: "integer" },
  });
  expect(fileOf(text).outputs).toEqual({ noise: { from: "noise.noise" }, generators: { from: "noise.generators" } });
});
