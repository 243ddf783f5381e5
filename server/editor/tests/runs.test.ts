import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Job, JobEvent } from "../src/api/types";
import { readPreview } from "../src/api/socket";
import { failureWords, tell } from "../src/run/progress";
import { hearAll } from "../src/state/hearing";
import { type Run, fromCache, newRun, staticPath } from "../src/state/noderun";

const JOB = {
  id: "00000000000000000000000000000001", state: "queued", workflow: "txt2img", inputs: {}, priority: 0, attempts: 0,
  cancelling: false, created: 1000, started: null, finished: null, position: null, progress: null, seconds_left: null,
  result: null, error: null, request_id: "",
} satisfies Job; // prettier-ignore

/** What the checker says of txt2img: the nodes at every depth. */
const LOOP = [
  "predict",
  "original",
  "step",
  ...["scaled", "uncond", "cond", "guided", "rescaled", "mode", "noise_pred"].map((one) => `predict.${one}`),
];
const TOP = [
  "model",
  "tokens",
  "text",
  "negative_tokens",
  "negative_text",
  "positive",
  "negative",
  "generators",
  "noise",
  "schedule",
  "start",
  "denoise",
  "image",
];
const PATHS = [...TOP, "denoise.loop", ...LOOP.map((one) => `denoise.loop.${one}`)];

/** The events of a real run, as the server streamed them. */
function recorded(name: string): JobEvent[] {
  const text = readFileSync(new URL(`fixtures/${name}.sse`, import.meta.url), "utf8");
  return text
    .trim()
    .split("\n\n")
    .map((block) => {
      const [, n, event, data] = /^id: (\d+)\nevent: (\w+)\ndata: (.*)$/.exec(block)!;
      return { job: JOB.id, n: Number(n), event: event!, data: JSON.parse(data!) as Record<string, unknown> };
    });
}

const heard = (run: Run, events: readonly JobEvent[]) =>
  hearAll(
    run,
    events.map((event) => ({ event })),
  );
const fresh = () => newRun(JOB, "txt2img", PATHS);
const event = (n: number, name: string, data: object): JobEvent => ({ job: JOB.id, n, event: name, data: { ...data } });

describe("a run of txt2img with six steps", () => {
  const events = recorded("txt2img");
  const until = (name: string, node: string) =>
    heard(fresh(), events.slice(0, events.findIndex((one) => one.event === name && one.data.node === node) + 1));

  test("ends with every called node done, and the sums of what is within", () => {
    const run = heard(fresh(), events);
    expect(run.job.state).toBe("succeeded");
    expect(run.job.result?.image?.files[0]?.media_type).toBe("image/png");
    expect(run.open).toEqual({});
    const unet = run.nodes["denoise.loop.predict.cond"]!;
    expect(unet).toMatchObject({ state: "done", done: 6, total: 6, cached: 0 });
    expect(Object.keys(unet.keys)).toHaveLength(6);
    const seconds = events
      .filter((one) => one.event === "finished" && staticPath(String(one.data.node)).startsWith("denoise."))
      .map((one) => Number(one.data.seconds));
    for (const path of ["denoise", "denoise.loop"]) {
      expect(run.nodes[path]).toMatchObject({ state: "done", done: 6, total: 6 });
      expect(run.nodes[path]!.seconds).toBeCloseTo(
        seconds.reduce((a, b) => a + b),
        6,
      );
    }
    expect(run.nodes["image"]!.key).toBe(events.findLast((one) => one.data.node === "image")!.data.key);
  });

  test("tells the step that is at work", () => {
    const third = until("started", "denoise.loop[2].predict.cond");
    expect(third.nodes["denoise"]).toMatchObject({ state: "running", done: 2, total: 6 });
    expect(third.nodes["denoise.loop.step"]).toMatchObject({ state: "running", done: 2, total: 6 });
    expect(third.nodes["denoise.loop.predict.scaled"]).toMatchObject({ done: 3, total: 6 });
    expect(tell({ ...third, job: { ...third.job, seconds_left: 12.3 } })).toEqual({
      share: 2 / 6,
      text: "Step 3 of 6 · 12 s left",
    });
  });

  test("a loop of which only switches were looked at ahead waits", () => {
    const ahead = until("finished", "denoise.loop[5].predict.mode");
    expect(ahead.nodes["denoise.loop"]).toMatchObject({ state: "queued", done: 0, total: 6 });
    expect(tell(ahead).text).not.toContain("Step");
  });

  test("is the same however its events are gathered, and when some come twice", () => {
    const once = heard(fresh(), events);
    const single = events.reduce((run, one) => heard(run, [one]), fresh());
    const twice = heard(heard(heard(fresh(), events.slice(0, 40)), events.slice(20)), events);
    for (const run of [single, twice])
      expect({ ...run, job: { ...run.job, started: 0, finished: 0 } }).toEqual({
        ...once,
        job: { ...once.job, started: 0, finished: 0 },
      });
  });

  test("what was made in the run and is looked up again stays done", () => {
    expect(events.filter((one) => one.data.node === "schedule").map((one) => one.event)).toEqual([
      "started",
      "finished",
      "cached",
    ]);
    expect(heard(fresh(), events).nodes["schedule"]).toMatchObject({ state: "done", cached: 0 });
  });

  test("cancelled, it says what was at work; taken back by the queue, it begins anew", () => {
    const third = until("started", "denoise.loop[2].predict.cond");
    const stopped = heard(third, [event(third.after + 1, "state", { state: "cancelled" })]);
    expect(stopped.nodes["denoise.loop.predict.cond"]).toMatchObject({ state: "stopped", done: 2 });
    expect(stopped.nodes["denoise"]!.state).toBe("stopped");
    expect(stopped.nodes["tokens"]!.state).not.toBe("stopped");
    const back = heard(third, [event(third.after + 1, "state", { state: "queued", attempt: 1 })]);
    expect(back.nodes).toEqual({});
    expect(back.job.started).toBeNull();
  });

  test("a failed node keeps its message, and so do the loops around it", () => {
    const third = until("started", "denoise.loop[2].predict.cond");
    const next = third.after + 1;
    const failed = heard(third, [
      event(next, "failed", { node: "denoise.loop[2].predict.cond", message: "too large" }),
      event(next + 1, "state", {
        state: "failed",
        error: { kind: "node", message: "too large", node: "denoise.loop[2].predict.cond" },
      }),
    ]);
    for (const path of ["denoise.loop.predict.cond", "denoise.loop", "denoise"])
      expect(failed.nodes[path]).toMatchObject({ state: "failed", message: "too large" });
    expect(failureWords(failed.job)).toBe("denoise.loop[2].predict.cond: too large");
  });
});

test("the same again comes from the cache", () => {
  const run = heard(fresh(), recorded("txt2img_cached"));
  expect(run.nodes["image"]).toMatchObject({ state: "cached", cached: 1, seconds: 0 });
  expect(run.nodes["image"]!.saved).toBeGreaterThan(0);
  expect(run.nodes["denoise"]).toMatchObject({ state: "cached", done: 6, total: 6 });
  const { cached, nodes } = fromCache(run);
  expect(cached).toBe(nodes);
  expect(tell(run).text).toContain("all from the cache");
});

test("mistakes that a job found stand with their nodes", () => {
  const problem = { node: "model", message: "'/nope' is no model" };
  const run = heard(fresh(), [
    event(1, "state", { state: "failed", error: { kind: "check", message: "1 mistake", problems: [problem] } }),
  ]);
  expect(run.nodes["model"]).toMatchObject({ state: "failed", message: problem.message });
  expect(failureWords(run.job)).toBe(`model: ${problem.message}`);
});

test("a small picture stays with its call and with what is around it", () => {
  const run = hearAll(fresh(), [
    { event: event(1, "expanded", { node: "map", total: 2 }) },
    { event: event(2, "started", { node: "map[1].image" }) },
    { event: event(3, "preview", { node: "map[1].image", key: "k" }), preview: "blob:1" },
  ]);
  expect(run.previews).toEqual({ "map[1].image": "blob:1" });
  expect(run.nodes["map"]!.preview).toBe("blob:1");
});

test("a loop in a map counts all its steps", () => {
  const run = hearAll(fresh(), [
    { event: event(1, "expanded", { node: "map", total: 2 }) },
    { event: event(2, "expanded", { node: "map[1].loop", total: 5 }) },
    { event: event(3, "started", { node: "map[1].loop[3].step" }) },
    { event: event(4, "finished", { node: "map[1].loop[3].step", key: "k", seconds: 1, bytes: 2 }) },
  ]);
  expect(run.nodes["map.loop.step"]).toMatchObject({ done: 9, total: 10 });
  expect(run.nodes["map.loop"]).toMatchObject({ state: "running", done: 8, total: 10 });
  expect(run.nodes["map"]).toMatchObject({ done: 1, total: 2 });
});

test("a preview message names its job and its event before the picture", async () => {
  const id = "0123456789abcdef0123456789abcdef";
  const bytes = new Uint8Array([...new TextEncoder().encode(id), 0, 0, 0, 0, 0, 0, 1, 2, 9, 8, 7]);
  const { job, n, png } = readPreview(bytes.buffer);
  expect([job, n]).toEqual([id, 258]);
  expect([...new Uint8Array(await png.arrayBuffer())]).toEqual([9, 8, 7]);
});

test("the seconds that are left follow from the pace of the steps, once switches were looked at ahead", () => {
  const call = (n: number, name: string, time: number, node: string) =>
    event(n, name, { node, time, key: node, seconds: 1 });
  const run = heard(fresh(), [
    event(1, "state", { state: "running" }),
    event(2, "expanded", { node: "denoise.loop", total: 10, time: 1 }),
    ...[0, 9].map((at) => call(3 + at, "finished", 2, `denoise.loop[${at}].predict.mode`)),
    ...[0, 1, 2, 3].map((at) => call(20 + at, "started", 10 + 3 * at, `denoise.loop[${at}].step`)),
  ]);
  expect(tell(run).text).toBe("Step 4 of 10 · 21 s left");
});
