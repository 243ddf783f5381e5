import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { WorkflowFile } from "../src/document/workflow";
import { findLoops } from "../src/graph/loops";
import { rootScope } from "../src/graph/scope";
import { requestFor } from "../src/loop/alone";
import { NoRequest } from "../src/loop/copies";
import { type Shown, decodingOf } from "../src/loop/decoding";

const folder = new URL("../../../workflows/", import.meta.url);
/** The requests that decode steps; the server's tests send these very ones. */
const decodings = "../../../tests/server/decodings";

const text = (name: string) => readFileSync(new URL(`${name}.json`, folder), "utf8");
const files = (name: string) => JSON.parse(text(name)) as WorkflowFile;

function decoding(name: string, path: string, shown: Shown, done: number | null) {
  const loop = findLoops(rootScope(name, files(name)), files).find((one) => one.path === path)!;
  return decodingOf({ loop, shown, done, text, asked: { workflow: name, files: {}, inputs: {} } });
}

const CASES: [string, string, Shown, number | null][] = [
  ["txt2img", "denoise.loop", "originals", null],
  ["txt2img", "denoise.loop", "latents", 2],
  ["guidance", "loop", "originals", null],
  ["inpaint", "repaint.blended.loop", "originals", 2],
  ["sdxl_base_refiner", "denoise.loop", "originals", null],
  ["sampler_comparison", "pictures.picture.denoise.loop", "latents", null],
];

describe("requests that decode steps", () => {
  test.each(CASES)("%s, %s, %s, done %s", async (name, path, shown, done) => {
    const { asked, path: calls } = decoding(name, path, shown, done);
    expect(asked.files).not.toHaveProperty(`${name}.json`);
    const made = { ...asked, path: calls };
    await expect(`${JSON.stringify(made, null, 1)}\n`).toMatchFileSnapshot(`${decodings}/${name}_${shown}_${done ?? "all"}.json`);
  });

  test("tell which calls decode", () => {
    expect(decoding("txt2img", "denoise.loop", "originals", null).path).toBe("denoise.loop.decoded__");
    expect(decoding("inpaint", "repaint.told.loop", "originals", null).path).toBe("repaint.told.loop.decoded__");
  });

  test("are refused in words where nothing decodes, or the steps of one of several runs are there in part", () => {
    expect(() => decoding("denoise", "loop", "originals", null)).toThrow(NoRequest);
    expect(() => decoding("sampler_comparison", "pictures.picture.denoise.loop", "latents", 2)).toThrow("false colours");
  });
});

describe("requests for one value", () => {
  const looked = { root: rootScope("txt2img", files("txt2img")), files, text, asked: { workflow: "txt2img", files: {}, inputs: {} }, signature: "", job: null, active: false };
  test("a value of each step, from within a file with one output that links do not name", async () => {
    const asked = requestFor(looked, { path: "denoise.loop.predict.noise_pred", output: "output" }, { kind: "unknown", why: "" });
    await expect(`${JSON.stringify({ ...asked, path: "" }, null, 1)}\n`).toMatchFileSnapshot(`${decodings}/txt2img_noise_pred.json`);
  });
  test("an output of the file itself, by its name where the node has several", () => {
    const found = { kind: "call" as const, call: "noise", path: "noise", output: "noise", type: "init_noise", item: null };
    const asked = requestFor(looked, { path: "noise", output: "noise" }, found)!;
    expect(JSON.parse(asked.files["txt2img__steps.json"]!).outputs).toEqual({ value__: { from: "noise.noise" } });
  });
  test("none for the ends of a level, which are no calls", () => {
    expect(requestFor(looked, { path: "denoise.loop.@inputs", output: "carry.latents" }, { kind: "unknown", why: "" })).toBeNull();
  });
});
