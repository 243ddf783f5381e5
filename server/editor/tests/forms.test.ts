import fc from "fast-check";
import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { NodeType } from "../src/api/types";
import type { WorkflowFile } from "../src/document/workflow";
import { matching } from "../src/forms/Combobox";
import { controlOf, snapped, stepOf } from "../src/forms/control";
import { declarationEdits, inOrder, retyped } from "../src/forms/declaration";
import { codeIn, readDocumentation } from "../src/forms/documentation";
import { hasLines, inLines, inWords, parseJson, parseLines, parseList, parseNumber } from "../src/forms/parse";
import { maskInput, namesIn, pictureIn, purposeIn, purposeOfInput } from "../src/forms/purpose";
import { fileId, forFile, forRun } from "../src/forms/stored";
import { applyEdits } from "../src/document/edit";
import { parse, valueOf } from "../src/document/syntax";

describe("which control a port gets", () => {
  test.each([
    ["guidance_scale", "float", { type: "number", minimum: 0, maximum: 100 }, { min: 0, max: 100, step: 0.5 }],
    ["strength", "float", { type: "number", minimum: 0, maximum: 1 }, { min: 0, max: 1, step: 0.01 }],
    ["at", "float", { type: "number", exclusiveMinimum: 0, exclusiveMaximum: 1 }, { min: 0.01, max: 0.99, step: 0.01 }],
    ["chunks", "int", { type: "integer", minimum: 0, maximum: 32 }, { min: 0, max: 32, step: 1 }],
    ["steps", "int", { type: "integer", minimum: 1, maximum: 10000 }, null],
    ["scale", "float", { type: "number", minimum: 0 }, null],
  ])("a slider for %s where its span makes sense", (name, type, schema, slider) => {
    expect(controlOf({ name, type, schema })).toMatchObject({ kind: "number", slider });
  });

  test.each([
    ["seed", "int", { type: "integer", minimum: 0 }, { kind: "seed" }],
    ["prompt", "str", { type: "string" }, { kind: "text", lines: true }],
    ["negative_prompt", "str", { type: "string" }, { kind: "text", lines: true }],
    ["name", "str", { type: "string" }, { kind: "text", lines: false }],
    ["compile", "bool", { type: "boolean" }, { kind: "toggle" }],
    [
      "mode",
      "'a' or 'b'",
      { type: "string", enum: ["a", "b"] },
      { kind: "choice", options: ["a", "b"], nullable: false },
    ],
    ["path", "Path", { type: "string", format: "path" }, { kind: "path", purpose: "file" }],
    ["labels", "list[str]", { type: "array" }, { kind: "list", items: "string" }],
    ["step_counts", "array", { type: "array", items: { type: "integer" } }, { kind: "list", items: "integer" }],
    ["items", "list[Any]", { type: "array" }, { kind: "json", list: true }],
  ])("%s of type %s", (name, type, schema, control) => {
    expect(controlOf({ name, type, schema })).toMatchObject(control);
  });

  test("what may be none", () => {
    const schema = { anyOf: [{ type: "number", minimum: -10, maximum: 10 }, { type: "null" }] };
    expect(controlOf({ name: "w", type: "float or None", schema })).toMatchObject({
      kind: "number",
      nullable: true,
      slider: { min: -10 },
    });
    const yes = { anyOf: [{ type: "boolean" }, { type: "null" }] };
    expect(controlOf({ name: "w", type: "bool or None", schema: yes })).toEqual({
      kind: "choice",
      options: [true, false],
      nullable: true,
    });
  });

  test("without a schema the type's name tells", () => {
    expect(controlOf({ name: "x", type: "int or None" })).toMatchObject({
      kind: "number",
      integer: true,
      nullable: true,
    });
    expect(controlOf({ name: "x", type: "'a' or 'b'" })).toMatchObject({ kind: "choice", options: ["a", "b"] });
    expect(controlOf({ name: "x", type: "Latents" })).toEqual({ kind: "json" });
    expect(controlOf({ name: "x", type: "any" })).toEqual({ kind: "json" });
  });
});

test("a slider gives round numbers within its bounds, whatever it is dragged to", () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0.5, max: 200, noNaN: true }),
      fc.double({ min: -1, max: 2, noNaN: true }),
      (span, at) => {
        const slider = { min: 0, max: span, step: stepOf(span) };
        const value = snapped(slider, at * span);
        expect(value).toBeGreaterThanOrEqual(0);
        expect(value).toBeLessThanOrEqual(span);
        const steps = value / slider.step;
        expect(value === span || Math.abs(steps - Math.round(steps)) < 1e-6).toBe(true);
      },
    ),
  );
  expect(snapped({ min: 0, max: 1, step: 0.01 }, 0.28999999999999998)).toBe(0.29);
});

describe("numbers as people type them", () => {
  const whole = { integer: true, bounds: { minimum: 1, maximum: 64 } };
  const share = { integer: false, bounds: { above: 0, below: 1 } };
  test.each([
    ["12", whole, { value: 12 }],
    [" 1e1 ", whole, { value: 10 }],
    ["0.5", share, { value: 0.5 }],
    [".5", share, { value: 0.5 }],
    ["", whole, { value: undefined }],
  ])("%j is taken", (text, control, parsed) => {
    expect(parseNumber(text, control, { value: undefined })).toEqual(parsed);
  });
  test.each([
    ["0", whole, "1 to 64 is expected, not 0."],
    ["65", whole, "1 to 64 is expected, not 65."],
    ["1.5", whole, "A whole number is expected, not 1.5."],
    ["0", share, "More than 0 and less than 1 is expected, not 0."],
    ["1", share, "More than 0 and less than 1 is expected, not 1."],
    ["0,5", share, "Write 0.5, with a point."],
    ["abc", whole, "A whole number is expected, not “abc”."],
    ["0x10", whole, "A whole number is expected, not “0x10”."],
    ["NaN", share, "A number is expected, not “NaN”."],
    ["-", whole, "A whole number is expected, not “-”."],
    ["", whole, "A whole number is needed here."],
    ["1e999", { integer: false, bounds: {} }, "1e999 is too large for a number."],
  ])("%j is refused in words", (text, control, problem) => {
    expect(parseNumber(text, control, "refused")).toEqual({ problem });
  });
  test("whole numbers that this page would round are refused", () => {
    const free = { integer: true, bounds: { minimum: 0 } };
    expect(parseNumber("9007199254740993", free, "refused")).toHaveProperty("problem");
    expect(parseNumber("9007199254740991", free, "refused")).toEqual({ value: 9007199254740991 });
  });
  test("what is taken lies within the bounds", () => {
    fc.assert(
      fc.property(fc.integer(), (number) => {
        const parsed = parseNumber(String(number), whole, "refused");
        expect("value" in parsed).toBe(number >= 1 && number <= 64);
      }),
    );
  });
  test("bounds in words", () => {
    expect(inWords({ minimum: 0, maximum: 1 })).toBe("0 to 1");
    expect(inWords({ above: 0, maximum: 16 })).toBe("more than 0 and at most 16");
    expect(inWords({ minimum: 0 })).toBe("at least 0");
    expect(inWords({})).toBe("");
  });
});

test("JSON in a field", () => {
  expect(parseJson("[1, 2]", "refused")).toEqual({ value: [1, 2] });
  expect(parseJson("cat", "refused")).toHaveProperty("problem", expect.stringContaining("cat"));
  expect(parseJson("", { value: undefined })).toEqual({ value: undefined });
});

test("files that the server keeps, in a run and in a workflow file", () => {
  const file = { id: "0123456789abcdef0123456789abcdef", media_type: "image/png" };
  expect([forRun(file), forFile(file)]).toEqual([`file:${file.id}`, `${file.id}.png`]);
  expect([forRun(file), forFile(file)].map(fileId)).toEqual([file.id, file.id]);
  expect(["example.png", "file:1", "file:../x", 3, undefined].map(fileId)).toEqual([null, null, null, null, null]);
});

const nodeType = (short_name: string, category: string, help: string, outputs: string[], type = "Path"): NodeType => ({
  name: `stepgraph/${short_name}`,
  short_name,
  category,
  doc: "",
  pure: true,
  single: false,
  hooks: [],
  inputs: { path: { type, help, literal: true, required: true } },
  outputs: Object.fromEntries(outputs.map((output, at) => [`o${at}`, { type: output }])),
});
const TYPES = [
  nodeType("load_model", "model", "`builtin:emoji` or `random:sd15`.", ["UNetModel"], "str"),
  nodeType("load_image", "image", "", ["Image"]),
  nodeType("load_mask", "mask", "", ["Mask"]),
  nodeType("load_conditioning", "conditioning", "", ["Conditioning"]),
];
const CATALOG = new Map(TYPES.map((type) => [type.short_name, type]));
const folder = new URL("../../../workflows/", import.meta.url);
const shipped = (name: string) => JSON.parse(readFileSync(new URL(name, folder), "utf8")) as WorkflowFile;

describe("what a path names", () => {
  test.each([
    ["load_model", "model"],
    ["load_image", "picture"],
    ["load_mask", "mask"],
    ["load_conditioning", "file"],
  ])("in %s: %s", (name, purpose) => {
    const type = CATALOG.get(name)!;
    expect(purposeIn(type, { name: "path", ...type.inputs.path! })).toBe(purpose);
    expect(purposeIn(type, { name: "dtype", type: "str" })).toBeUndefined();
  });
  test("an input of a workflow names what its takers load", () => {
    const file = shipped("inpaint.json");
    const purpose = (name: string) =>
      purposeOfInput(file, { name, type: file.inputs![name]!.type!, help: file.inputs![name]!.description }, CATALOG);
    expect(["model", "image", "mask", "prompt", "scheduler"].map(purpose)).toEqual([
      "model",
      "picture",
      "mask",
      undefined,
      undefined,
    ]);
    expect(maskInput(file, CATALOG)).toBe("mask");
    expect(pictureIn(file, {}, CATALOG)).toBe("example.png");
    expect(pictureIn(file, { image: "file:1" }, CATALOG)).toBe("file:1");
  });
  test("a switch hands on what it is given: each of its cases names what the taker loads", () => {
    const nodes = {
      chosen: { type: "switch", select: "a", cases: { a: { from: "inputs.mask_one" } }, default: { from: "again" } },
      again: { type: "switch", select: "a", cases: { a: { from: "inputs.other" } }, default: { from: "chosen" } },
      model: { type: "load_model", inputs: { path: { from: "chosen" } } },
    };
    const of = (name: string) => purposeOfInput({ stepgraph: 1, nodes }, { name, type: "path" }, CATALOG);
    expect([of("mask_one"), of("other"), of("unused")]).toEqual(["model", "model", "file"]);
    const given = shipped("any_conditioning.json");
    const models = Object.keys(given.inputs!).filter((name) => name.endsWith("_model"));
    expect(models.length).toBe(4);
    expect(models.map((name) => purposeOfInput(given, { name, type: "path" }, CATALOG))).toEqual(Array(4).fill("model"));
  });
  test("where no known node takes it, the name tells, then the help", () => {
    const of = (name: string, help = "") => purposeOfInput(undefined, { name, type: "path", help }, new Map());
    expect([
      of("mask"),
      of("model", "A model that makes pictures"),
      of("photo"),
      of("x", "A picture."),
      of("x"),
    ]).toEqual(["mask", "model", "picture", "picture", "file"]);
  });
  test("every path of the shipped workflows is a model, a picture, a mask or a file that is none of them", () => {
    const paths = readdirSync(folder)
      .filter((name) => name.endsWith(".json"))
      .flatMap((name) => {
        const file = shipped(name);
        return Object.entries(file.inputs ?? {})
          .filter(([, one]) => one.type === "path")
          .map(
            ([input, one]) =>
              [input, purposeOfInput(file, { name: input, type: "path", help: one.description }, CATALOG)] as const,
          );
      });
    expect(paths.filter(([name, purpose]) => /(^|_)model$/.test(name) && purpose !== "model")).toEqual([]);
    expect(paths.filter(([name, purpose]) => name === "mask" && purpose !== "mask")).toEqual([]);
    expect(paths.filter(([name, purpose]) => name === "image" && purpose !== "picture")).toEqual([]);
    expect(paths.length).toBeGreaterThan(20);
  });
  test("names without a file, as the documentation has them", () => {
    expect(namesIn("`builtin:emoji` for the small one; or `random:sd15`, `random:sd15`. See random:x.")).toEqual([
      "builtin:emoji",
      "random:sd15",
      "random:x",
    ]);
  });
});

test("a docstring: first sentence, paragraphs, sections; arguments stand with their fields", () => {
  const doc = [
    "A mask from a file:",
    "white is changed.",
    "",
    "The rest",
    "is kept.",
    "",
    "Args:",
    "    path: The file.",
    "",
    "Returns:",
    "    One mask,",
    "    (1, 1).",
    "",
    "Raises:",
    "    InputError: none.",
    "    OSError: bad.",
  ].join("\n");
  expect(readDocumentation(doc)).toEqual({
    summary: "A mask from a file: white is changed.",
    paragraphs: ["The rest is kept."],
    sections: [
      { title: "Returns", paragraphs: ["One mask, (1, 1)."] },
      { title: "Raises", paragraphs: ["InputError: none.", "OSError: bad."] },
    ],
  });
  expect(readDocumentation("")).toEqual({ summary: "", paragraphs: [], sections: [] });
  expect(codeIn("see `a b` and c")).toEqual([
    { text: "see ", code: false },
    { text: "a b", code: true },
    { text: " and c", code: false },
  ]);
});

describe("declarations of inputs", () => {
  const steps = { type: "integer", default: 20, minimum: 1, maximum: 64, description: "Steps." };
  test.each([
    ["number", { type: "number", default: 20, minimum: 1, maximum: 64, description: "Steps." }],
    ["string", { type: "string", default: "20", description: "Steps." }],
    ["boolean", { type: "boolean", default: false, description: "Steps." }],
    ["path", { type: "path", description: "Steps." }],
    ["any", { type: "any", default: 20, description: "Steps." }],
  ])("a whole number becomes %s", (type, after) => expect(retyped(steps, type)).toEqual(after));
  test("text becomes a number where it is one", () => {
    expect(retyped({ type: "string", default: "2.6", enum: ["2.6"] }, "integer")).toEqual({
      type: "integer",
      default: 3,
    });
    expect(retyped({ type: "string", default: "cat" }, "number")).toEqual({ type: "number", default: 0 });
    expect(retyped({ type: "string" }, "number")).toEqual({ type: "number" });
  });
  test("what items are is said of lists only", () => {
    const list = { type: "array", default: [1], items: "integer" };
    expect(retyped(list, "array")).toEqual(list);
    expect(retyped(list, "string")).toEqual({ type: "string", default: "" });
  });
  test("edits change nothing else of the file", () => {
    const tree = parse(JSON.stringify({ stepgraph: 1, inputs: { steps, other: { type: "any" } }, nodes: {} }));
    const after = retyped(steps, "string");
    const made = valueOf(applyEdits(tree, declarationEdits("steps", steps, after)).root) as WorkflowFile;
    expect(made.inputs).toEqual({ steps: after, other: { type: "any" } });
  });
  test("prompts come first", () => {
    const names = ["model", "negative_prompt", "seed", "prompt"].map((name) => ({ name }));
    expect(inOrder(names).map((one) => one.name)).toEqual(["prompt", "negative_prompt", "model", "seed"]);
  });
});

test("offers are narrowed by words, in any order", () => {
  const offers = ["ddim", "dpmpp_2m", "dpmpp_2m_karras", "euler"].map((value) => ({ value }));
  expect(matching(offers, "kar dpm").map((one) => one.value)).toEqual(["dpmpp_2m_karras"]);
  expect(matching(offers, "").length).toBe(4);
  expect(matching([{ value: "my euler" }, { value: "euler" }], "eul").map((one) => one.value)).toEqual([
    "euler",
    "my euler",
  ]);
});

describe("lists", () => {
  test.each(["", "ddim", "ddim\neuler", "two words\nof one, item", "a\n"])("texts stand one a line: %j", (text) => {
    const { value } = parseLines(text, "string") as { value: string[] };
    expect(hasLines(value)).toBe(true);
    expect(inLines(value)).toBe(text);
  });
  test("numbers stand one a line, or behind each other", () => {
    expect(parseLines("2\n4, 8", "integer")).toEqual({ value: [2, 4, 8] });
    expect(inLines([2, 4, 8])).toBe("2\n4\n8");
    expect(parseLines("0.5 1", "number")).toEqual({ value: [0.5, 1] });
    expect(parseLines("2 x", "integer")).toEqual({ problem: "A whole number is expected, not “x”." });
    expect(parseLines("2.5", "integer")).toHaveProperty("problem");
  });
  test("items that are no lines are JSON, and what is no list is refused", () => {
    expect([["two\nlines"], [{ from: "a" }], [["a"]], "a"].map(hasLines)).toEqual([false, false, false, false]);
    expect(parseList("[1, [2]]", "refused")).toEqual({ value: [1, [2]] });
    expect(parseList("3", "refused")).toEqual({ problem: "A list is expected: [3], in brackets." });
  });
});
