/** Edits of JSON texts by hand: what is not touched stays to the byte, however the file is written. */

import { describe, expect, test } from "vitest";
import { isCanonical } from "../src/document/canonical";
import { type Edit, EditProblem, applyEdits } from "../src/document/edit";
import { type Json, SyntaxProblem, nodeOf, parse, valueOf, write, writeNode } from "../src/document/syntax";

const edited = (text: string, ...edits: Edit[]) => write(applyEdits(parse(text), edits));
const set = (path: (string | number)[], value: Json, before?: string): Edit => ({
  op: "set",
  path,
  value,
  ...(before && { before }),
});
const remove = (...path: (string | number)[]): Edit => ({ op: "remove", path });

describe("what stays", () => {
  test.each<[string, string, Edit, string]>([
    [
      "numbers",
      '{"a": 4.0, "b": 1e0, "c": 18446744073709551615}',
      set(["d"], 1),
      '{"a": 4.0, "b": 1e0, "c": 18446744073709551615, "d": 1}',
    ],
    ["escapes", '{"\\u0061b": "\\u00e9\\/", "c": 1}', set(["c"], 2), '{"\\u0061b": "\\u00e9\\/", "c": 2}'],
    ["numbers in a list that loses one", '{"a":[4.0,5.0, 6e0]}', set(["a"], [4, 6]), '{"a":[4.0,6e0]}'],
    [
      "numbers beside a changed one",
      '{ "a": {"x": 4.0,"y": 5.0} }',
      set(["a"], { x: 4, y: 6 }),
      '{ "a": {"x": 4.0,"y": 6} }',
    ],
    ["a file without spaces", '{"a":{"b":1},"c":2}', set(["a", "b"], 3), '{"a":{"b":3},"c":2}'],
    ["a byte order mark", '\ufeff{"a": 1}\n\n', set(["a"], 2), '\ufeff{"a": 2}\n\n'],
    ["Windows lines", '{\r\n\t"a": 1\r\n}\r\n', set(["b"], 2), '{\r\n\t"a": 1,\r\n\t"b": 2\r\n}\r\n'],
    ["four spaces", '{\n    "a": {"b": 1}\n}', set(["c"], [1, 2]), '{\n    "a": {"b": 1},\n    "c": [1, 2]\n}'],
    ["spaces around commas", '{ "a" : 1 , "b" : 2 }', remove("a"), '{ "b" : 2 }'],
    ["the last of them", '{ "a" : 1 , "b" : 2 }', remove("b"), '{ "a" : 1 }'],
    ["the only one", '{ "a" : 1 }', remove("a"), "{}"],
    ["an empty object", "{  }", set(["a"], 1), '{"a": 1}'],
    ["the last of several lines", '{\n  "a": 1,\n\n  "b": 2\n\n}', remove("b"), '{\n  "a": 1\n\n}'],
    ["a comma at the start of a line", '{\n  "a": 1\n, "b": 2\n, "c": 3\n}', remove("c"), '{\n  "a": 1\n, "b": 2\n}'],
    [
      "a name of the language",
      '{"__proto__": 1, "constructor": 2}',
      set(["constructor"], 3),
      '{"__proto__": 1, "constructor": 3}',
    ],
  ])("%s", (_, text, edit, wanted) => expect(edited(text, edit)).toBe(wanted));

  test("a long line that was long before is not broken up", () => {
    const text = `{"title":"${"x".repeat(200)}","nodes":{"a":{"type":"b"}}}`;
    expect(edited(text, set(["nodes", "a", "type"], "c"))).toBe(text.replace('"b"', '"c"'));
  });
  test("an object on one line that becomes too long goes over lines as the file has them", () => {
    const text = `{\r\n\t"nodes": {"a": {"type": "b"}},\r\n\t"outputs": {}\r\n}`;
    const made = edited(text, set(["nodes", "a", "note"], "n".repeat(120)));
    expect(JSON.parse(made).nodes.a.note).toHaveLength(120);
    expect(made.replaceAll("\r\n", "")).not.toContain("\n");
    expect(made.startsWith('{\r\n\t"nodes": {')).toBe(true);
    expect(made.endsWith(',\r\n\t"outputs": {}\r\n}')).toBe(true);
  });
});

describe("names that JavaScript has uses for", () => {
  test.each(["__proto__", "constructor", "toString"])("%s", (name) => {
    const text = edited(
      '{\n  "stepgraph": 1\n}\n',
      set(["nodes", name], { type: "x" }),
      set(["nodes", name, "title"], "T"),
    );
    expect(valueOf(parse(text).root)).toEqual(JSON.parse(text));
    expect(Object.keys((JSON.parse(text) as { nodes: object }).nodes)).toEqual([name]);
    expect(edited(text, { op: "rename", path: ["nodes", name], name: "plain" })).toContain('"plain"');
  });
});

describe("canonical files", () => {
  const canonical = (text: string) => isCanonical(parse(text));
  test("new keys stand where the format wants them", () => {
    const text = '{\n  "stepgraph": 1,\n  "nodes": {\n    "a": {"type": "x", "inputs": {}}\n  },\n  "outputs": {}\n}\n';
    const made = edited(
      text,
      set(["layout", "collapsed"], ["a"]),
      set(["nodes", "a", "mute"], true),
      set(["title"], "T"),
      set(["inputs", "p"], { type: "any" }),
    );
    expect(Object.keys(JSON.parse(made))).toEqual(["stepgraph", "title", "inputs", "nodes", "outputs", "layout"]);
    expect(Object.keys(JSON.parse(made).nodes.a)).toEqual(["type", "mute", "inputs"]);
    expect(canonical(made)).toBe(true);
  });
  test("`before` does not count where the format has an order", () => {
    const text = '{\n  "stepgraph": 1,\n  "nodes": {\n    "a": {"type": "x", "note": "n", "inputs": {}}\n  }\n}\n';
    expect(edited(text, set(["nodes", "a", "title"], "T", "inputs"))).toContain('"type": "x", "title": "T", "note"');
  });
  test("characters beyond the first plane are one column, as in Python", () => {
    const fits = "😀".repeat(120 - '    "a": {"n": ""}'.length - 1);
    const file = (note: string) => edited('{\n  "nodes": {}\n}\n', set(["nodes", "a"], { n: note }));
    expect(file(fits)).toContain(`\n    "a": {"n": "${fits}"}\n`);
    expect(file(`${fits}😀`)).toContain('\n    "a": {\n      "n": ');
  });
  test.each([[0.00001, "1e-05"], [1.5e-7, "1.5e-07"], [0.0001, "0.0001"], [-0, "0"], [1e21, "1e+21"], [1e-10, "1e-10"], [0.1, "0.1"]])(
    "%d is written as Python writes it", (value, text) => expect(writeNode(nodeOf(value))).toBe(text),
  ); // prettier-ignore
  test("an entry of another text keeps its numbers", () => {
    const entry = (
      valueOf(parse('{"n": {"type": "x", "inputs": {"a": 4.0,"b":18446744073709551615}}}').root) as { n: Json }
    ).n;
    const text = edited('{\n  "nodes": {}\n}\n', set(["nodes", "copy"], entry));
    expect(text).toContain('"copy": {"type": "x", "inputs": {"a": 4.0, "b": 18446744073709551615}}');
  });
});

describe("mistakes", () => {
  test.each<[string, Edit]>([
    ["what is not there", remove("b")],
    ["an item of a list", remove("l", 0)],
    ["within a number", set(["a", "b"], 1)],
    ["the whole file", remove()],
    ["a name that is taken", { op: "rename", path: ["a"], name: "l" }],
    ["beyond a list's end", set(["l", 5], 1)],
  ])("%s", (_, edit) => expect(() => edited('{"a": 1, "l": [1]}', edit)).toThrow(EditProblem));
  test("what need not be there", () => {
    const text = '{"a": {}, "b": {"c": 1}, "l": []}';
    const gone = (path: string, when: "there" | "empty"): Edit => ({ op: "remove", path: [path], when });
    expect(edited(text, gone("x", "there"), gone("x", "empty"), gone("b", "empty"))).toBe(text);
    expect(edited(text, gone("a", "empty"), gone("l", "empty"), gone("b", "there"))).toBe("{}");
  });
  test("a file deeper than anything that is read", () => {
    expect(() => parse("[".repeat(300) + "]".repeat(300))).toThrow(SyntaxProblem);
    const deep = "[".repeat(150) + "]".repeat(150);
    expect(write(parse(deep))).toBe(deep);
  });
});
