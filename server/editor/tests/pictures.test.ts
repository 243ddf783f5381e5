import { expect, test } from "vitest";
import type { Job } from "../src/api/types";
import { bytes, moment, seconds } from "../src/parts/words";
import { workflowDifferences } from "../src/run/CompareFacts";
import { differenceOf } from "../src/run/difference";
import { inputDifferences, ownInputs } from "../src/run/inputs";
import { joined } from "../src/run/jobs";
import { onceEach, picturesOf } from "../src/run/pictures";

function job(id: string, created: number, files: string[] = [], more: Partial<Job> = {}): Job {
  const result = {
    image: { key: "k", type: "Image", files: files.map((file) => ({ id: file, media_type: "image/png", bytes: 1 })) },
  };
  const latents = { key: "l", type: "Latents", files: [{ id: "x", media_type: "application/octet-stream", bytes: 1 }] };
  return {
    id, created, state: "succeeded", workflow: "txt2img", inputs: {}, priority: 0, attempts: 1,
    cancelling: false, started: created, finished: created + 1, position: null, progress: null, seconds_left: null,
    result: { ...result, latents }, error: null, request_id: "", ...more,
  }; // prettier-ignore
}

test("pictures of jobs: every one of a batch, nothing that is no picture", () => {
  const found = picturesOf([job("b", 2, ["2", "3"]), job("a", 1, ["1"]), job("none", 0, [], { result: null })]);
  expect(found.map(({ file, number, of }) => [file, number, of])).toEqual([
    ["2", 0, 2],
    ["3", 1, 2],
    ["1", 0, 1],
  ]);
});

test("a picture that later jobs had from the cache is that of the job that made it", () => {
  const found = onceEach(picturesOf([job("c", 3, ["1"]), job("b", 2, ["2"]), job("a", 1, ["1"])]));
  expect(found.map((one) => [one.job.id, one.file])).toEqual([
    ["b", "2"],
    ["a", "1"],
  ]);
});

test("pages of jobs are joined: each once, as it was heard last, the newest first", () => {
  const found = joined([job("b", 2, [], { state: "failed" })], [job("a", 1), job("b", 2), job("c", 3)]);
  expect(found.map((one) => [one.id, one.state])).toEqual([
    ["c", "succeeded"],
    ["b", "failed"],
    ["a", "succeeded"],
  ]);
});

test("inputs that differ, from the workflow's own and between two runs", () => {
  const input = { type: "integer", required: false, description: "", minimum: null, maximum: null, enum: null };
  const declared = { seed: { ...input, default: 0 }, steps: { ...input, default: 20 } };
  expect(ownInputs(job("a", 1, [], { inputs: { seed: 0, steps: 4, extra: [1] } }), declared)).toEqual([
    ["steps", 4],
    ["extra", [1]],
  ]);
  expect(inputDifferences({ a: 1, b: [1, 2], c: null }, { b: [1, 2], a: 2, d: 3 })).toEqual([
    { name: "a", before: 1, after: 2 },
    { name: "c", before: null, after: undefined },
    { name: "d", before: undefined, after: 3 },
  ]);
});

test("the difference of two pictures, four times as strong and bounded", () => {
  const a = new Uint8ClampedArray([10, 20, 30, 255, 0, 0, 0, 255]);
  const b = new Uint8ClampedArray([13, 20, 25, 255, 0, 0, 102, 255]);
  const { pixels, mean, largest, differing } = differenceOf(a, b);
  expect([...pixels]).toEqual([12, 0, 20, 255, 0, 0, 255, 255]);
  expect(mean).toBeCloseTo((3 + 5 + 102) / 6 / 255, 12);
  expect(largest).toBeCloseTo(0.4, 12);
  expect(differing).toBe(1);
  expect(differenceOf(a, a)).toMatchObject({ mean: 0, largest: 0, differing: 0 });
});

test("workflows are compared entry by entry, main files whatever they are called", () => {
  const made = (workflow: string, steps: number, others: Record<string, string>) => ({
    workflow, inputs: {}, environment: {},
    files: { [workflow]: JSON.stringify({ stepgraph: 1, nodes: { a: { type: "t", inputs: { steps } } } }), ...others },
  }); // prettier-ignore
  const found = workflowDifferences(
    made("x.json", 4, { "sub.json": '{"stepgraph": 1, "nodes": {}}' }),
    made("y.json", 5, {}),
  );
  expect(found).toEqual([
    { name: "x.json → y.json nodes.a.inputs.steps", before: 4, after: 5 },
    { name: "sub.json", before: "this file", after: undefined },
  ]);
});

test("numbers in words", () => {
  expect([0.0001, 0.104, 7.24, 8, 59.4, 59.6, 3599.7, 3700].map(seconds)).toEqual([
    "1 ms",
    "104 ms",
    "7.2 s",
    "8 s",
    "59 s",
    "1 min 0 s",
    "1 h 0 min",
    "1 h 1 min",
  ]);
  expect([0, 999, 1500, 49_208, 2.5e9].map(bytes)).toEqual(["0 B", "999 B", "1.5 kB", "49.2 kB", "2.5 GB"]);
  const noon = new Date(2026, 4, 3, 12, 5);
  const at = noon.getTime() / 1000;
  expect(moment(at - 86_400, noon)).not.toBe(moment(at, noon));
  expect(moment(at, noon)).toMatch(/12:05/);
});
