import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { NodeType } from "../src/api/types";
import type { WorkflowFile } from "../src/document/workflow";
import { findLoops } from "../src/graph/loops";
import { rootScope } from "../src/graph/scope";
import { type Call, withEvents, withKeys } from "../src/loop/calls";
import { instancesOf, nameOf, outputKey, stepsOf } from "../src/loop/steps";

const folder = new URL("../../../workflows/", import.meta.url);
const files = (name: string) => JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8")) as WorkflowFile;
const loopOf = (name: string, at = 0) => findLoops(rootScope(name, files(name)), files)[at]!;

const step = { outputs: { latents: { type: "Latents" }, solver: { type: "Solver" } } } as unknown as NodeType;
const catalog = new Map([["scheduler_step", step]]);
const told = (event: string, node: string, seconds = 0) => ({ event, node, key: `key of ${node}`, seconds, total: 0 });

describe("steps of a run", () => {
  const events = [
    told("cached", "denoise.loop[0].predict.cond", 9), told("cached", "denoise.loop[0].step", 1),
    told("started", "denoise.loop[1].predict.cond"), told("finished", "denoise.loop[1].predict.cond", 2),
    told("finished", "denoise.loop[1].step", 0.5), told("cached", "denoise.loop[1].step", 0.5),
    told("started", "denoise.loop[2].predict.cond"), told("finished", "denoise.loop[10].predict.mode", 7),
  ]; // prettier-ignore
  const loop = loopOf("txt2img");
  const steps = stepsOf({ loop, outer: {} }, 4, withEvents(new Map(), events), catalog);

  test("are cached, computed with their seconds, or not done", () => {
    expect(steps.map(({ done, cached, seconds }) => [done, cached, seconds])).toEqual([
      [true, true, null], [true, false, 2.5], [false, false, null], [false, false, null],
    ]); // prettier-ignore
  });
  test("know the key of their latents, with the number of the output", () => {
    expect(steps[1]!.key).toBe("00key of denoise.loop[1].step");
    expect(outputKey(catalog, "scheduler_step", "solver", "k")).toBe("01k");
    expect(steps[3]).toMatchObject({ call: "denoise.loop[3].step", key: "" });
  });
  test("what the server has of other runs is there, and cached; news of it does not undo what events told", () => {
    const keys = { "denoise.loop[1].step": { key: "key of denoise.loop[1].step", cached: false }, "denoise.loop[3].step": { key: "k", cached: true } };
    const calls = withKeys(withEvents(new Map<string, Call>(), events), keys);
    expect(calls.get("denoise.loop[1].step")).toMatchObject({ there: true, cached: false, seconds: 0.5 });
    expect(calls.get("denoise.loop[3].step")).toEqual({ key: "k", there: true, cached: true, seconds: null });
  });
});

describe("loops in several iterations", () => {
  test("of a map are each a timeline of their own", () => {
    const loop = loopOf("sampler_comparison");
    const calls = ["pictures[1].picture.denoise.loop[4].step", "pictures[0].picture.denoise.loop[0].step", "pictures[1].label"];
    const found = instancesOf(loop, calls);
    expect(found.map(nameOf)).toEqual(["pictures 1 › picture › denoise", "pictures 2 › picture › denoise"]);
    const made = new Map(calls.map((call) => [call, { key: call, there: true, cached: true, seconds: null }]));
    expect(stepsOf(found[1]!, 5, made, catalog).map((one) => one.done)).toEqual([false, false, false, false, true]);
  });
  test("are there once, where no call is known yet", () => {
    expect(instancesOf(loopOf("guidance"), []).map(nameOf)).toEqual(["loop"]);
    expect(instancesOf(loopOf("sdxl_base_refiner", 1), ["denoise.loop[0].step"]).map(nameOf)).toEqual(["refine"]);
  });
});
