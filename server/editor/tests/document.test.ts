import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { isCanonical } from "../src/document/canonical";
import { applyEdits } from "../src/document/edit";
import { parse, SyntaxProblem, valueOf, write } from "../src/document/syntax";

const folder = new URL("../../../workflows/", import.meta.url);
const shipped = readdirSync(folder).filter((name) => name.endsWith(".json"));

describe.each(shipped)("%s", (name) => {
  const text = readFileSync(new URL(name, folder), "utf8");
  test("is read and written to the byte, and canonical", () => {
    const tree = parse(text);
    expect(write(tree)).toBe(text);
    expect(valueOf(tree.root)).toEqual(JSON.parse(text));
    expect(isCanonical(tree)).toBe(true);
  });
  test("a change and its reverse give the file again", () => {
    const tree = parse(text);
    const changed = applyEdits(tree, [{ op: "set", path: ["a_new_key"], value: { positions: { a: [1, 2] } } }]);
    expect(write(changed)).toContain("positions");
    expect(write(applyEdits(changed, [{ op: "remove", path: ["a_new_key"] }]))).toBe(text);
  });
});

test.each(['{"a": 1,}', "{'a': 1}", '{"a": 01}', '{"a": 1} x', "[1 2]", '{"a": 1, "a": 2}', "", '{"a": "\n"}'])(
  "%s is no JSON",
  (text) => expect(() => parse(text)).toThrow(SyntaxProblem),
);

test("hand-made layout stays, but for the line that changes", () => {
  const text = '{ "stepgraph": 1,\n\t"nodes": {"a": {"type": "x",   "inputs": {"k": 4.0}},\n\t  "b": {"type": "y"}}\n}';
  const set = applyEdits(parse(text), [{ op: "set", path: ["nodes", "b", "title"], value: "B" }]);
  expect(write(set)).toBe(text.replace('{"type": "y"}', '{"type": "y", "title": "B"}'));
});
