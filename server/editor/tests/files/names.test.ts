import { describe, expect, test } from "vitest";
import { freeName, nameOfFile, nameProblem, ownName } from "../../src/document/filenames";

/** The server's rule, as server/workflows/store.py writes it. */
const RULE = /^[A-Za-z0-9][A-Za-z0-9_\-]{0,99}$/;

describe("nameProblem", () => {
  test.each(["a", "9", "txt2img", "my-file_2", "a".repeat(100)])("%s may be a name", (name) => {
    expect(name).toMatch(RULE);
    expect(nameProblem(name)).toBe("");
  });
  test.each(["", "_a", "-a", "a.json", "a/b", "..", "ä", "a b", "a\n", "a".repeat(101)])("%j may not", (name) => {
    expect(RULE.test(name) && !name.endsWith("\n")).toBe(false);
    expect(nameProblem(name)).not.toBe("");
  });
});

test.each([
  ["My picture (1).png", "My_picture_1"],
  ["C:\\work\\txt2img.json", "txt2img"],
  ["/a/b.c/Übung.json", "U_bung"],
  ["___.json", "workflow"],
  ["...", "workflow"],
])("a file %j is opened under an allowed name", (file, name) => {
  expect(nameOfFile(file)).toBe(name);
  expect(nameProblem(name)).toBe("");
});

test("names are counted up until one is free, and never too long", () => {
  expect(freeName("a", new Set())).toBe("a");
  expect(freeName("a", new Set(["a", "a_2"]))).toBe("a_3");
  const long = "x".repeat(100);
  const made = freeName(long, new Set([long]));
  expect(made).toHaveLength(100);
  expect(made.endsWith("_2")).toBe(true);
  expect(ownName("txt2img", new Set(["my_txt2img"]))).toBe("my_txt2img_2");
});
