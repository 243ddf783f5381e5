import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { applyEdits } from "../src/document/edit";
import { isCanonical } from "../src/document/canonical";
import { takenApart } from "../src/graph/apart";
import { type Tree, parse, valueOf, write } from "../src/document/syntax";
import type { WorkflowFile } from "../src/document/workflow";
import { NoSeam, type Wish, branch, noiseOf, seamOf, settingsOf } from "../src/graph/branch";
import { findLoops } from "../src/graph/loops";
import { calledFiles, rootScope } from "../src/graph/scope";

const folder = new URL("../../../workflows/", import.meta.url);
/** What branching makes of shipped workflows; the server's tests check and run these very files. */
const branches = "../../../tests/server/branches";

const text = (name: string) => readFileSync(new URL(`${name}.json`, folder), "utf8");
const files = (name: string) => JSON.parse(text(name)) as WorkflowFile;
const loopsOf = (name: string) => findLoops(rootScope(name, files(name)), files);

function seam(name: string, path: string) {
  return seamOf(loopsOf(name).find((loop) => loop.path === path)!);
}

function branched(tree: Tree, name: string, path: string, wish: Wish): Tree {
  const file = valueOf(tree.root) as WorkflowFile;
  const loop = findLoops(rootScope(name, file), files).find((one) => one.path === path)!;
  return applyEdits(tree, branch(file, seamOf(loop), wish).change.edits!);
}

const NOTHING = { inputs: {}, ports: {} };

describe("loops of shipped workflows", () => {
  test.each([
    ["txt2img", ["denoise.loop"]],
    ["img2img", ["denoise.loop"]],
    ["controlnet", ["denoise.loop"]],
    ["sdxl_base_refiner", ["denoise.loop", "refine.loop"]],
    ["inpaint", ["repaint.told.loop", "repaint.blended.loop"]],
    ["guidance", ["loop"]],
    ["sampler_comparison", ["pictures.picture.denoise.loop"]],
    ["prompt", []],
  ])("%s has %j", (name, paths) => {
    expect(loopsOf(name).map((loop) => loop.path)).toEqual(paths);
    for (const loop of loopsOf(name)) expect(loop.latents).toBe("latents");
  });

  test("types say which loops carry latents, whatever the names are", () => {
    const named = { "denoise.loop": { inputs: {}, outputs: { latents: "Solver", solver: "Latents" } } };
    const [loop] = findLoops(rootScope("txt2img", files("txt2img")), files, named);
    expect(loop!.latents).toBe("solver");
    const none = { "denoise.loop": { inputs: {}, outputs: { latents: "Image", solver: "Solver" } } };
    expect(findLoops(rootScope("txt2img", files("txt2img")), files, none)).toEqual([]);
  });

  test("the files on the way are told, those that files call, too", () => {
    expect(calledFiles(rootScope("txt2img", files("txt2img")), files)).toEqual(["denoise", "predict"]);
  });
});

describe("where a loop can be taken apart", () => {
  test("a node that calls a file: by the inputs and outputs that lead to the loop", () => {
    expect(seam("txt2img", "denoise.loop")).toMatchObject({
      node: "denoise", timesteps: { section: "inputs", name: "timesteps" }, latents: "latents",
      carries: [{ start: { name: "latents" }, end: "latents" }, { start: { name: "solver" }, end: "solver" }],
    }); // prettier-ignore
  });
  test("a loop of the file itself", () => {
    expect(seam("guidance", "loop")).toMatchObject({ node: "loop", timesteps: { section: "each", name: "timestep" }, called: null });
  });
  test("one that lies deeper is refused in words", () => {
    expect(() => seam("inpaint", "repaint.told.loop")).toThrow(NoSeam);
    expect(() => seam("inpaint", "repaint.told.loop")).toThrow("open repaint.json");
    expect(() => seam("sampler_comparison", "pictures.picture.denoise.loop")).toThrow("lies too deep");
  });
});

describe("what may differ", () => {
  const names = (name: string, path: string) => settingsOf(files(name), seam(name, path)).map((one) => `${one.from} ${one.name}`);
  test("is what reaches the loop, but neither its schedule nor its start", () => {
    expect(names("txt2img", "denoise.loop")).toEqual([
      "input prompt", "input negative_prompt", "input weighting", "input chunks", "input clip_skip", "input guidance_scale",
      "port guidance_rescale", "port guidance_start", "port guidance_end",
    ]); // prettier-ignore
  });
  test("the noise has a seed where it comes from an input", () => {
    expect(noiseOf(files("txt2img"), seam("txt2img", "denoise.loop"))).toEqual({ node: "noise", input: "seed" });
    expect(noiseOf(files("sdxl_base_refiner"), seam("sdxl_base_refiner", "refine.loop"))).toEqual({ node: "noise", input: "seed" });
  });
});

/** A run of the file itself, with the values that its inputs have there. */
const ITSELF = { at: {}, values: {} };

describe("a loop in files that files call", () => {
  test.each(["repaint.told.loop", "repaint.blended.loop"])("%s is branched once its node is taken apart", async (path) => {
    const tree = parse(text("inpaint"));
    const apart = takenApart(tree, "inpaint", path, files, ITSELF)!;
    expect([apart.nodes, apart.loop.path]).toEqual([["repaint"], path.replace("repaint.", "")]);
    const made = branch(apart.file, seamOf(apart.loop), { at: 2, ...NOTHING });
    const written = write(applyEdits(tree, [...apart.edits, ...made.change.edits!]));
    await expect(written).toMatchFileSnapshot(`${branches}/inpaint_${apart.loop.scope.owner!.node}_same.json`);
  });
  test("others stay as they are", () => {
    expect(takenApart(parse(text("txt2img")), "txt2img", "denoise.loop", files, ITSELF)).toMatchObject({ edits: [], nodes: [] });
    expect(takenApart(parse(text("txt2img")), "txt2img", "nobody.loop", files, ITSELF)).toBeNull();
  });
});

describe("a loop in a map", () => {
  const PATH = "pictures.picture.denoise.loop";
  const apartFrom = (tree: Tree, at: number, values = {}) =>
    takenApart(tree, "sampler_comparison", PATH, files, { at: { pictures: at }, values })!;

  test("is branched for one item, which gets nodes and an output of its own", async () => {
    const tree = parse(text("sampler_comparison"));
    const apart = apartFrom(tree, 1, { schedulers: ["euler", "ddim"], step_counts: [3] });
    expect(apart.items).toEqual([{ map: "pictures", index: 1, given: { scheduler: "ddim", steps: 3 } }]);
    expect([apart.nodes, apart.loop.path]).toEqual([["picture_2"], "denoise.loop"]);
    const made = branch(apart.file, seamOf(apart.loop), { at: 1, ...NOTHING });
    expect(made.outputs).toEqual(["image_2_branch"]);
    const after = applyEdits(tree, [...apart.edits, ...made.change.edits!]);
    const [before, now] = [files("sampler_comparison"), valueOf(after.root) as WorkflowFile];
    expect(now.nodes.pictures).toEqual(before.nodes.pictures);
    expect(now.outputs).toMatchObject(before.outputs!);
    await expect(write(after)).toMatchFileSnapshot(`${branches}/sampler_comparison_item.json`);
  });

  test("of a product, the last list goes fastest", () => {
    const given = (at: number) => apartFrom(parse(text("sampler_comparison")), at).items[0]!.given;
    expect([0, 3, 4, 19].map(given)).toEqual([
      { scheduler: "ddim", steps: 2 }, { scheduler: "ddim", steps: 16 }, { scheduler: "euler", steps: 2 }, { scheduler: "unipc", steps: 16 },
    ]); // prettier-ignore
    expect(() => given(20)).toThrow("scheduler of pictures has no item 21 any more");
  });

  test("is refused in words where only a run knows the items", () => {
    const each = { op: "set" as const, path: ["nodes", "pictures", "each", "steps"], value: { from: "columns" } };
    const tree = applyEdits(parse(text("sampler_comparison")), [each]);
    expect(() => apartFrom(tree, 0)).toThrow(NoSeam);
    expect(() => apartFrom(tree, 0)).toThrow("steps of pictures comes from columns, so that only a run knows its items. Write the list");
  });

  test("directly in the body: the item's own loop is branched, with its number where that counts", () => {
    const guidance = files("guidance");
    const { loop, ...others } = guidance.nodes;
    const inner = { nodes: { loop: loop!, numbered: { type: "label", inputs: { number: { from: "index" } } } }, outputs: {} };
    const file = { ...guidance, nodes: { ...others, many: { type: "map", each: { x: ["a", "b"] }, body: inner } } };
    const found = takenApart(parse(JSON.stringify(file)), "mapped", "many.loop", files, { at: { many: 1 }, values: {} })!;
    expect(found.loop.path).toBe("loop_2");
    expect(found.file.nodes.numbered_2!.inputs!.number).toBe(1);
    expect(seamOf(found.loop)).toMatchObject({ node: "loop_2", called: null });
  });
});

const CASES: [string, string, string, Wish][] = [
  ["txt2img", "denoise.loop", "txt2img_same", { at: 2, ...NOTHING }],
  ["txt2img", "denoise.loop", "txt2img_prompt", { at: 2, inputs: { prompt: "a frog", guidance_scale: 2.5 }, ports: { guidance_rescale: 0.7 } }],
  ["txt2img", "denoise.loop", "txt2img_seed", { at: 2, ...NOTHING, seed: 7 }],
  ["img2img", "denoise.loop", "img2img_prompt", { at: 1, inputs: { prompt: "a frog" }, ports: {} }],
  ["controlnet", "denoise.loop", "controlnet_same", { at: 2, ...NOTHING }],
  ["sdxl_base_refiner", "denoise.loop", "sdxl_base", { at: 2, inputs: { prompt: "a frog" }, ports: {} }],
  ["sdxl_base_refiner", "refine.loop", "sdxl_refiner", { at: 1, ...NOTHING }],
  ["guidance", "loop", "guidance_same", { at: 2, ...NOTHING }],
];

describe("branches", () => {
  test.each(CASES)("%s at %s: %s", async (name, path, made, wish) => {
    const tree = branched(parse(text(name)), name, path, wish);
    expect(isCanonical(tree)).toBe(true);
    const [before, after] = [files(name), valueOf(tree.root) as WorkflowFile];
    for (const [node, entry] of Object.entries(before.nodes)) expect(after.nodes[node]).toEqual(entry);
    for (const [output, source] of Object.entries(before.outputs!)) expect(after.outputs![output]).toEqual(source);
    expect(after.outputs).toHaveProperty("image_branch");
    await expect(write(tree)).toMatchFileSnapshot(`${branches}/${made}.json`);
  });

  test("values that came from inputs differ in the second loop and after it only", () => {
    const { nodes } = valueOf(branched(parse(text("txt2img")), "txt2img", "denoise.loop", CASES[1]![3]).root) as WorkflowFile;
    expect(nodes.denoise_first!.inputs!.guidance_scale).toEqual({ from: "inputs.guidance_scale" });
    expect(nodes.denoise_rest!.inputs).toMatchObject({ guidance_scale: 2.5, guidance_rescale: 0.7, positive: { from: "positive_branch" } });
    expect(nodes.tokens_branch!.inputs!.text).toBe("a frog");
    expect(nodes.negative_branch).toBeUndefined();
    expect(nodes.image_branch!.inputs!.latents).toEqual({ from: "denoise_rest.latents" });
  });

  test("a branch of a branch, and a second one, have names of their own", () => {
    const once = branched(parse(text("txt2img")), "txt2img", "denoise.loop", { at: 2, ...NOTHING });
    const twice = valueOf(branched(once, "txt2img", "denoise_rest.loop", { at: 3, ...NOTHING }).root) as WorkflowFile;
    expect(Object.keys(twice.outputs!)).toEqual(["image", "latents", "image_branch", "latents_branch", "image_branch_2", "latents_branch_2"]);
    expect(twice.nodes.denoise_split_2!.inputs!.timesteps).toEqual({ from: "denoise_split.rest" });
    expect(twice.nodes.image_branch_2!.inputs!.latents).toEqual({ from: "denoise_rest_2.latents" });
    expect(twice.nodes.denoise_rest_2!.title).toBe("The denoising loop, from step 4");
  });

  test("where nodes have places, the new ones lie below them", () => {
    const placed = applyEdits(parse(text("txt2img")), [
      { op: "set", path: ["layout", "positions"], value: { denoise: [500, 20], image: [800, 60] } },
    ]);
    const { layout, nodes } = valueOf(branched(placed, "txt2img", "denoise.loop", { at: 2, ...NOTHING }).root) as WorkflowFile;
    const added = Object.entries(layout!.positions!).filter(([name]) => name !== "denoise" && name !== "image");
    expect(added.map(([name]) => name)).toEqual(Object.keys(nodes).slice(-4));
    for (const [, [, y]] of added) expect(y).toBeGreaterThan(60);
  });

  test("a chosen node stands between both loops", () => {
    const between = { type: "upscale_latents", input: "latents", output: "output", values: { scale: 1 } };
    const { nodes } = valueOf(branched(parse(text("txt2img")), "txt2img", "denoise.loop", { at: 2, ...NOTHING, between }).root) as WorkflowFile;
    expect(nodes.upscale_latents!.inputs).toEqual({ scale: 1, latents: { from: "denoise_first.latents" } });
    expect(nodes.denoise_rest!.inputs!.latents).toEqual({ from: "upscale_latents" });
  });
});
