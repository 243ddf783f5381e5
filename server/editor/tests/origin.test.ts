import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { WorkflowFile } from "../src/document/workflow";
import { type Found, callName, find, loopsAround, originOf, totalsOf } from "../src/graph/origin";
import { rootScope } from "../src/graph/scope";

const folder = new URL("../../../workflows/", import.meta.url);
const files = (name: string) => JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8")) as WorkflowFile;

/** The value of an output as the run of txt2img with three steps has it; switches take `cfg`. */
async function value(path: string, output: string, at: Record<string, number> = {}, workflow = "txt2img"): Promise<Found> {
  const origin = originOf(rootScope(workflow, files(workflow)), path, output, files);
  return find(origin, at, { "denoise.loop": 3 }, async () => "cfg");
}

describe("where values come from", () => {
  test("an ordinary node: its own call", async () => {
    expect(await value("noise", "noise")).toMatchObject({ kind: "call", call: "noise", output: "noise", type: "init_noise" });
    expect(await value("text", "output")).toMatchObject({ call: "text" });
  });
  test("a workflow node and a loop: the last iteration", async () => {
    expect(await value("denoise", "latents")).toMatchObject({ call: "denoise.loop[2].step", output: "latents" });
    expect(await value("denoise.loop", "solver")).toMatchObject({ call: "denoise.loop[2].step", output: "solver" });
  });
  test("what is collected: all iterations", async () => {
    const found = await value("denoise", "steps");
    expect(found.kind === "list" && found.of.map((one) => one.kind === "call" && one.call)).toEqual([
      "denoise.loop[0].step", "denoise.loop[1].step", "denoise.loop[2].step",
    ]); // prettier-ignore
  });
  test("within an iteration: its own calls, through switches and files", async () => {
    const at = { "denoise.loop": 1 };
    expect(await value("denoise.loop.step", "latents", at)).toMatchObject({ call: "denoise.loop[1].step" });
    expect(await value("denoise.loop.predict", "noise_pred", at)).toMatchObject({ call: "denoise.loop[1].predict.guided" });
  });
  test("what is carried: from the iteration before, at first from outside", async () => {
    expect(await value("denoise.loop.@inputs", "carry.latents", { "denoise.loop": 2 })).toMatchObject({ call: "denoise.loop[1].step" });
    expect(await value("denoise.loop.@inputs", "carry.latents", { "denoise.loop": 0 })).toMatchObject({ call: "start" });
  });
  test("an item of a list, the number of the iteration, and what is given", async () => {
    const at = { "denoise.loop": 2 };
    expect(await value("denoise.loop.@inputs", "each.timestep", at)).toMatchObject({ call: "schedule", output: "timesteps", item: 2 });
    expect(await value("denoise.loop.@inputs", "index", at)).toEqual({ kind: "literal", value: 2 });
    expect(await value("denoise.loop.@inputs", "inputs.guidance_scale", at)).toEqual({ kind: "input", name: "guidance_scale" });
    expect(await value("denoise.loop.@inputs", "inputs.guidance_rescale", at)).toEqual({ kind: "literal", value: 0 });
    expect(await value("@inputs", "inputs.prompt")).toEqual({ kind: "input", name: "prompt" });
  });
  test("what is not there is said", async () => {
    expect(await value("nobody", "x")).toMatchObject({ kind: "unknown" });
    expect(await value("nobody.loop", "x")).toMatchObject({ kind: "unknown" });
  });
});

test("names of calls have the iterations of the loops around them", () => {
  expect(callName("a.b.c.d", { "a.b": 1, "a.b.c": 4, "a.b.c.d": 9 })).toBe("a.b[1].c[4].d");
  expect(totalsOf(["a[0].b[2].c", "a[1].b[1].c", "x"])).toEqual({ a: 2, "a.b": 3 });
  expect(loopsAround("a.b.c", { a: 2, "a.b": 3, "a.b.c": 4 })).toEqual(["a", "a.b"]);
});
