/** What people do to nodes, links and ports: what each operation changes, and that it changes nothing else. */

import { describe, expect, test } from "vitest";
import { applyEdits } from "../src/document/edit";
import type { Change } from "../src/document/history";
import { type Json, parse, valueOf, write } from "../src/document/syntax";
import type { WorkflowFile } from "../src/document/workflow";
import { copy, isPiece, paste } from "../src/graph/clipboard";
import * as edits from "../src/graph/edits";
import { INPUTS, OUTPUTS, levelAt, readGraph } from "../src/graph/graph";
import { declaredType, isItem, mayFit } from "../src/graph/types";
import { catalog, dangling, fileOf, graphOf, surroundings, textOf } from "./world";

/** A file as it is after changes, each made of the file as it is by then. */
function after(text: string, ...makers: ((file: WorkflowFile) => Change)[]): { text: string; file: WorkflowFile } {
  const made = makers.reduce((held, make) => write(applyEdits(parse(held), make(fileOf(held)).edits ?? [])), text);
  return { text: made, file: fileOf(made) };
}

/** The lines that only one of two texts has. */
function changedLines(before: string, now: string): string[] {
  const [one, other] = [new Set(before.split("\n")), new Set(now.split("\n"))];
  return [
    ...[...one].filter((line) => !other.has(line)).map((line) => `- ${line.trim()}`),
    ...[...other].filter((line) => !one.has(line)).map((line) => `+ ${line.trim()}`),
  ];
}

const TEXT = textOf("txt2img");
const LOOP = textOf("denoise");
const BODY = ["nodes", "loop", "body"];
const node = (file: WorkflowFile, id: string, body: string[] = []) =>
  graphOf(file, body).nodes.find((one) => one.id === id)!;
const port = (file: WorkflowFile, id: string, input: string, body: string[] = []) =>
  node(file, id, body).inputs.find((one) => one.id === input)!;

describe("nodes", () => {
  test("a new one has a free name, its place, and the link that was drawn to it", () => {
    const { text } = after(TEXT, (file) => edits.addNode(file, [], "encode_text", [10.4, -0.2], {
      graph: graphOf(file), from: { node: "tokens", output: "output", input: "tokens" },
    }).change); // prettier-ignore
    expect(changedLines(TEXT, text)).toEqual([
      '- "image": {"type": "vae_decode", "inputs": {"vae": {"from": "model.vae"}, "latents": {"from": "denoise.latents"}}}',
      "- }",
      '+ "image": {"type": "vae_decode", "inputs": {"vae": {"from": "model.vae"}, "latents": {"from": "denoise.latents"}}},',
      '+ "encode_text": {"type": "encode_text", "inputs": {"tokens": {"from": "tokens"}}}',
      '+ "layout": {',
      '+ "positions": {"encode_text": [10, 0]}',
    ].filter((line) => line !== "- }")); // prettier-ignore
    expect(edits.newName(fileOf(text), "encode_text")).toBe("encode_text_2");
    expect(edits.newName(fileOf(text), "inputs")).toBe("inputs_2");
    expect(edits.newName(fileOf(text), "3 böse Wörter!")).toBe("b_se_W_rter");
  });
  test("built-in types begin with what the format wants of them", () => {
    const entry = (type: string, from?: { node: string; output: string }) => {
      const graph = graphOf(fileOf(TEXT));
      const made = after(
        TEXT,
        (file) =>
          edits.addNode(file, [], type, [0, 0], { path: "denoise.json", base: "fresh", graph, ...(from && { from }) })
            .change,
      );
      return made.file.nodes.fresh;
    };
    const steps = { node: "schedule", output: "timesteps" };
    const latents = { node: "start", output: "output" };
    expect(entry("loop")).toEqual({ type: "loop", times: 1, body: { nodes: {} } });
    expect(entry("map")).toEqual({ type: "map", each: { item: [] }, body: { nodes: {}, outputs: {} } });
    expect(entry("switch")).toEqual({ type: "switch", select: "a", cases: { a: null } });
    expect(entry("workflow")).toEqual({ type: "workflow", path: "denoise.json" });
    expect(entry("loop", steps)).toEqual({
      type: "loop",
      each: { timesteps: { from: "schedule.timesteps" } },
      body: { nodes: {} },
    });
    expect(entry("loop", latents)).toEqual({
      type: "loop",
      carry: { output: { from: "start" } },
      times: 1,
      body: { nodes: {}, carry: { output: { from: "carry.output" } } },
    });
    expect(entry("map", steps)).toEqual({
      type: "map",
      each: { timesteps: { from: "schedule.timesteps" } },
      body: { nodes: {}, outputs: {} },
    });
    expect(entry("switch", latents)).toEqual({ type: "switch", select: "a", cases: { a: { from: "start" } } });
  });
  test("one that goes takes along its links, its outputs and its place", () => {
    const { text, file } = after(
      TEXT,
      () => edits.moveNodes([], { denoise: [1, 2], image: [3, 4] }),
      (now) => edits.removeNodes(now, [], ["denoise"]),
    );
    expect(file.nodes.image!.inputs).toEqual({ vae: { from: "model.vae" } });
    expect(file.outputs).toEqual({ image: { from: "image" } });
    expect(file.layout).toEqual({ positions: { image: [3, 4] } });
    expect(text).not.toContain("denoise.latents");
  });
  test("one in a list of links takes its item along, the last one the list", () => {
    const { file } = after(textOf("variations"), (now) => edits.removeNodes(now, [], ["image"]));
    expect(file.nodes.sheet).toEqual({ type: "image_grid" });
    expect(file.outputs).toEqual({ image: { from: "sheet" }, latents: { from: "denoise.latents" } });
  });
  test("a body keeps its ports when what they were linked to goes", () => {
    const { file } = after(
      LOOP,
      (now) => edits.removeFileInput(now, "timesteps"),
      (now) => edits.removeFileInput(now, "unet"),
      (now) => edits.removeFileInput(now, "latents"),
    );
    expect(file.nodes.loop!.each).toEqual({ timestep: null });
    expect(file.nodes.loop!.inputs).toMatchObject({ unet: null, positive: { from: "inputs.positive" } });
    expect(file.nodes.loop!.carry).toEqual({ latents: null, solver: { from: "inputs.solver" } });
    expect(dangling(file)).toEqual([]);
  });
  test("one that goes out of a body: the carry stays, and what was collected goes outside too", () => {
    const { file } = after(LOOP, (now) => edits.removeNodes(now, BODY, ["step", "original"]));
    expect(file.nodes.loop!.body!.carry).toEqual({
      latents: { from: "carry.latents" },
      solver: { from: "carry.solver" },
    });
    expect(file.nodes.loop!.body!.collect).toEqual({ noise_preds: { from: "predict" } });
    expect(Object.keys(file.outputs!)).toEqual(["latents", "solver", "noise_preds"]);
  });
  test("a new name goes everywhere in its level, and nowhere else", () => {
    const text = textOf("conditioning_switch");
    const { text: made, file } = after(
      text,
      () => edits.moveNodes([], { text: [0, 0] }),
      (now) => edits.renameNode(now, [], "text", "words"),
    );
    expect(file.nodes.positive!.cases).toMatchObject({ text: { from: "words" } });
    expect(file.layout!.positions).toEqual({ words: [0, 0] });
    expect(Object.keys(file.nodes).indexOf("words")).toBe(Object.keys(fileOf(text).nodes).indexOf("text"));
    expect(dangling(file)).toEqual([]);
    expect(
      after(
        made,
        (now) => edits.renameNode(now, [], "words", "text"),
        () => edits.setLayout([], "positions", {}),
      ).text,
    ).toBe(text);
    const inner = after(LOOP, (now) => edits.renameNode(now, BODY, "step", "one_step")).file;
    expect(inner.nodes.loop!.body!.carry).toEqual({
      latents: { from: "one_step.latents" },
      solver: { from: "one_step.solver" },
    });
    expect(inner.outputs).toEqual(fileOf(LOOP).outputs);
  });
  test.each([["inputs", /links use this name/], ["index", /links use this name/], ["2nd", /is no name/], ["a b", /is no name/], ["", /is no name/], ["noise", /there already/]])(
    "cannot be called %j", (name, why) => expect(() => edits.renameNode(fileOf(TEXT), [], "image", name)).toThrow(why),
  ); // prettier-ignore
  test("are muted or bypassed, not both; nothing is left of empty texts", () => {
    const muted = after(
      TEXT,
      () => edits.setEntry([], "noise", "mute", true),
      () => edits.setEntry([], "noise", "title", "N"),
    );
    expect(Object.keys(muted.file.nodes.noise!)).toEqual(["type", "title", "mute", "inputs"]);
    const bypassed = after(muted.text, () => edits.setEntry([], "noise", "bypass", true));
    expect(bypassed.file.nodes.noise).toMatchObject({ bypass: true });
    expect(bypassed.file.nodes.noise).not.toHaveProperty("mute");
    expect(
      after(
        bypassed.text,
        () => edits.setEntry([], "noise", "bypass", false),
        () => edits.setEntry([], "noise", "title", ""),
      ).text,
    ).toBe(TEXT);
  });
});

describe("links", () => {
  test("an input that had one gets the new one; both ways of naming an output are as the file has them", () => {
    const { text } = after(TEXT, (file) =>
      edits.connect(graphOf(file), [], { node: "noise", output: "noise" }, { node: "image", input: "latents" }),
    );
    expect(changedLines(TEXT, text)).toEqual([
      '- "image": {"type": "vae_decode", "inputs": {"vae": {"from": "model.vae"}, "latents": {"from": "denoise.latents"}}}',
      '+ "image": {"type": "vae_decode", "inputs": {"vae": {"from": "model.vae"}, "latents": {"from": "noise.noise"}}}',
    ]);
    const only = after(TEXT, (file) =>
      edits.connect(graphOf(file), [], { node: "start", output: "output" }, { node: OUTPUTS, input: "latents" }),
    );
    expect(only.file.outputs!.latents).toEqual({ from: "start" });
    const given = after(LOOP, (file) =>
      edits.connect(
        graphOf(file, BODY),
        BODY,
        { node: INPUTS, output: "each.timestep" },
        { node: OUTPUTS, input: "collect.steps" },
      ),
    );
    expect(given.file.nodes.loop!.body!.collect!.steps).toEqual({ from: "each.timestep" });
  });
  test("a list of links gets one more, and loses one", () => {
    const text = textOf("variations");
    const link = (file: WorkflowFile, item?: number) =>
      graphOf(file).links.filter((one) => one.to === "sheet" && one.item === item);
    const two = after(text, (file) => edits.connect(graphOf(file), [], { node: "image", output: "output" }, { node: "sheet", input: "images" }),
      (file) => edits.addNode(file, [], "vae_decode", [0, 0], { base: "other" }).change,
      (file) => edits.connect(graphOf(file), [], { node: "other", output: "output" }, { node: "sheet", input: "images" })); // prettier-ignore
    expect(two.file.nodes.sheet!.inputs!.images).toEqual([{ from: "image" }, { from: "other" }]);
    expect(link(two.file, 1)).toMatchObject([{ from: "other", id: "other:output>sheet:images[1]" }]);
    const both = edits.removeAll(
      graphOf(two.file),
      [],
      [],
      graphOf(two.file).links.filter((one) => one.to === "sheet"),
    );
    expect(after(two.text, () => both).file.nodes.sheet).toEqual({ type: "image_grid" });
    const one = after(two.text, (file) => edits.disconnect(graphOf(file), [], "sheet", "images", 0));
    expect(one.file.nodes.sheet!.inputs!.images).toEqual([{ from: "other" }]);
  });
  test("one that goes leaves no empty `inputs`", () => {
    const { file } = after(TEXT, (now) => edits.disconnect(graphOf(now), [], "model", "path"));
    expect(file.nodes.model).toEqual({ type: "load_model" });
    const back = after(
      TEXT,
      (now) => edits.setInput([], node(now, "model"), port(now, "model", "path"), "here"),
      (now) => edits.setInput([], node(now, "model"), port(now, "model", "path"), undefined),
    );
    expect(back.file.nodes.model).toEqual({ type: "load_model" });
  });
  test("are shown also from what a type does not have, and from types that nobody knows", () => {
    const text = TEXT.replace("vae_decode", "gone/decode").replace(
      '"from": "noise.generators"',
      '"from": "noise.nothing"',
    );
    const graph = graphOf(fileOf(text));
    expect(graph.nodes.find((one) => one.id === "image")).toMatchObject({
      kind: "missing",
      outputs: [{ id: "output" }],
    });
    expect(graph.links.map((one) => one.id)).toContain("image:output>@outputs:image");
    expect(graph.links.map((one) => one.id)).toContain("noise:nothing>schedule:generators");
  });
  test("fit by their types, items into lists too", () => {
    expect([
      mayFit("Image", "list[Image]"),
      mayFit("list[Image]", "Image"),
      mayFit("int", "float"),
      mayFit("UNet", "VAE or None"),
    ]).toEqual([true, false, true, false]);
    expect([
      isItem("Image", "list[Image]"),
      isItem("list[Image]", "list[Image]"),
      isItem("any", "list[Image]"),
      isItem("UNet", "list[Image]"),
    ]).toEqual([true, false, false, false]);
    expect(["int", "float or None", "'a' or 'b'", "UNet", "list[int]"].map(declaredType)).toEqual([
      "integer",
      "number",
      "string",
      "any",
      "any",
    ]);
  });
});

describe("inputs and outputs", () => {
  test("a port becomes an input of the file, through every loop on the way", () => {
    const { file } = after(
      LOOP,
      (now) =>
        edits.exposePort(now, BODY, node(now, "predict", BODY), port(now, "predict", "guidance_scale", BODY)).change,
    );
    expect(file.inputs).toHaveProperty("guidance_scale_2");
    expect(file.nodes.loop!.inputs!.guidance_scale_2).toEqual({ from: "inputs.guidance_scale_2" });
    expect(file.nodes.loop!.body!.nodes.predict!.inputs!.guidance_scale).toEqual({ from: "inputs.guidance_scale_2" });
    const score = after(
      TEXT,
      (now) => edits.exposePort(now, [], node(now, "negative"), port(now, "negative", "aesthetic_score")).change,
    );
    expect(score.file.inputs!.aesthetic_score).toEqual({ type: "number", default: 2.5 });
  });
  test("an input gets another name with its value for the next run, and goes with it", () => {
    const change = edits.renameFileInput(fileOf(TEXT), "seed", "luck", { seed: 7 });
    expect(change.values).toEqual({ seed: undefined, luck: 7 });
    const { file } = after(TEXT, () => change);
    expect(file.nodes.generators!.inputs!.seed).toEqual({ from: "inputs.luck" });
    const gone = edits.removeFileInput(fileOf(TEXT), "seed");
    expect(gone.values).toEqual({ seed: undefined });
    expect(after(TEXT, () => gone).file.nodes.generators!.inputs).toEqual({
      batch_size: { from: "inputs.batch_size" },
    });
    expect(() => edits.addFileInput(fileOf(TEXT), "seed", { type: "any" })).toThrow(/there already/);
  });
  test("a loop with one output gets a second: links that named just the loop name the first", () => {
    const text =
      '{"stepgraph": 1, "nodes": {"l": {"type": "loop", "times": 2, "body": {"nodes": {"n": {"type": "unet"}}, "collect": {"a": {"from": "n"}}}}}, "outputs": {"x": {"from": "l"}}}';
    const made = after(text, (now) => edits.addOutput(now, ["nodes", "l", "body"], "n", "a").change);
    expect(made.file.outputs).toEqual({ x: { from: "l.a" } });
    expect(made.file.nodes.l!.body!.collect).toEqual({ a: { from: "n" }, a_2: { from: "n" } });
  });
});

describe("ports of loops", () => {
  const removed = (name: string, of: string, port: Parameters<typeof edits.removePort>[3], body: string[] = []) =>
    after(textOf(name), (now) => edits.removePort(now, body, of, port)).file;
  test("a carry goes inside and outside", () => {
    const file = removed("denoise", "loop", { section: "carry", name: "latents" });
    expect(Object.keys(file.nodes.loop!.carry!)).toEqual(["solver"]);
    expect(file.nodes.loop!.body!.carry).toEqual({ solver: { from: "step.solver" } });
    expect(file.nodes.loop!.body!.nodes.step!.inputs).not.toHaveProperty("latents");
    expect(file.outputs).not.toHaveProperty("latents");
    expect(removed("denoise", OUTPUTS, { section: "carry", name: "latents" }, BODY)).toEqual(file);
    expect(removed("denoise", INPUTS, { section: "carry", name: "latents" }, BODY)).toEqual(file);
    expect(removed("denoise", "loop", { section: "outputs", name: "latents" })).toEqual(file);
  });
  test("the last of `each` leaves a loop that says how often it runs", () => {
    const file = removed("denoise", "loop", { section: "each", name: "timestep" });
    expect(file.nodes.loop).toMatchObject({ times: 1 });
    expect(file.nodes.loop).not.toHaveProperty("each");
    expect(file.nodes.loop!.body!.nodes.step!.inputs).not.toHaveProperty("timestep");
  });
  test.each([
    ["each", "timestep"],
    ["inputs", "unet"],
    ["carry", "latents"],
    ["collect", "steps"],
  ] as const)("%s.%s gets another name and its old one back", (section, name) => {
    const owned = { section, name };
    const there = after(LOOP, (now) => edits.renamePort(now, [], "loop", owned, "other"));
    expect(dangling(there.file)).toEqual([]);
    expect(there.text).toContain('"other"');
    expect(after(there.text, (now) => edits.renamePort(now, [], "loop", { section, name: "other" }, name)).text).toBe(
      LOOP,
    );
  });
  test("a new carry is given on as it came", () => {
    const { file } = after(
      LOOP,
      (now) => edits.addLoopPort(now, [], "loop", "carry", "latents", { from: "inputs.latents" }).change,
    );
    expect(file.nodes.loop!.carry!.latents_2).toEqual({ from: "inputs.latents" });
    expect(file.nodes.loop!.body!.carry!.latents_2).toEqual({ from: "carry.latents_2" });
  });
  test("a name that another output has is refused; the number of the iteration stays", () => {
    expect(() => edits.renamePort(fileOf(LOOP), [], "loop", { section: "carry", name: "latents" }, "steps")).toThrow(
      /there already/,
    );
    expect(() => edits.removePort(fileOf(LOOP), BODY, INPUTS, { section: "inputs", name: "index" })).toThrow(/index/);
  });
});

describe("the clipboard", () => {
  test("links among copied nodes go along; links to others stay where there is one of that name", () => {
    const text = copy(fileOf(TEXT), [], ["tokens", "text"], { tokens: [100, 50], text: [400, 90] });
    expect(isPiece(text)).toBe(true);
    const same = after(TEXT, (file) => paste(file, [], text, [0, 0]).change).file;
    expect(same.nodes.text_2!.inputs).toEqual({
      text_encoder: { from: "model.text_encoder" },
      tokens: { from: "tokens_2" },
      clip_skip: { from: "inputs.clip_skip" },
    });
    expect(same.layout!.positions).toEqual({ tokens_2: [0, 0], text_2: [300, 40] });
    const inBody = after(LOOP, (file) => paste(file, BODY, text, [5, 5]).change).file;
    expect(levelAt(inBody, BODY)!.nodes.text!.inputs).toEqual({ tokens: { from: "tokens" } });
    expect(dangling(inBody)).toEqual([]);
  });
  test("numbers stay as they were written", () => {
    const written = TEXT.replace('"aesthetic_score": 2.5', '"aesthetic_score": 4.0');
    const { text } = after(written, (file) => paste(file, [], copy(file, [], ["negative"]), [0, 0]).change);
    expect(text.match(/"aesthetic_score": 4\.0/g)).toHaveLength(2);
  });
  test.each([
    "",
    "a cat",
    "{}",
    '{"stepgraph_nodes": 1, "nodes": []}',
    '{"stepgraph_nodes": 1, "nodes": {"a": 1}}',
    '{"stepgraph": 1, "nodes": {}}',
  ])("%j holds no nodes", (text) => {
    expect(isPiece(text)).toBe(false);
    expect(() => paste(fileOf(TEXT), [], text, [0, 0])).toThrow(/Copy nodes/);
  });
});

describe("what is drawn again", () => {
  test("only the node that changed, and links that go with it", () => {
    const before = graphOf(fileOf(TEXT));
    const tree = parse(TEXT);
    const read = (held: ReturnType<typeof parse>) =>
      readGraph(valueOf(held.root) as unknown as WorkflowFile, [], surroundings());
    const first = read(tree);
    const second = read(applyEdits(tree, edits.setEntry([], "noise", "title", "N").edits!));
    expect(second.nodes.filter((one, at) => one !== first.nodes[at]).map((one) => one.id)).toEqual(["noise"]);
    expect(second.links.every((one, at) => one === first.links[at])).toBe(true);
    expect(first).toEqual(before);
  });
  test("a new type of the catalog changes the nodes that have it", () => {
    const file = fileOf(TEXT);
    const first = readGraph(file, [], surroundings());
    const around = { ...surroundings(), catalog: new Map([...catalog, ["tokenize", { ...catalog.get("tokenize")! }]]) };
    const changed = readGraph(file, [], around).nodes.filter((one, at) => one !== first.nodes[at]);
    expect(changed.map((one) => one.id)).toEqual(["tokens", "negative_tokens"]);
  });
  test.each<Json>([null, 1, [], "x", {}, { nodes: null }, { nodes: { a: null, b: 1, c: [] } }, { nodes: { a: { type: "loop", body: 3, each: [] } }, inputs: { x: null }, outputs: [] }])(
    "files that are none are read as far as they go: %j", (file) => {
      expect(() => readGraph(file as unknown as WorkflowFile, [], surroundings())).not.toThrow();
    },
  ); // prettier-ignore
});
