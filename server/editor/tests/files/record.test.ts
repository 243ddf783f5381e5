import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import type { WorkflowSummary } from "../../src/api/types";
import { filesOf } from "../../src/document/record";
import { isWorkflow, kindOf } from "../../src/files/opening";
import { matching, templates } from "../../src/files/templates";

const file = (...calls: string[]) =>
  JSON.stringify({ stepgraph: 1, nodes: Object.fromEntries(calls.map((path, at) => [`n${at}`, { type: "workflow", path }])), outputs: {} });

test("a picture whose files are all here opens the one that is here", () => {
  const files = { "main.json": file("inner.json"), "inner.json": file() };
  const known = { main: files["main.json"], inner: files["inner.json"] };
  expect(filesOf({ workflow: "main.json", files }, known, new Set(["main", "inner"]))).toEqual([
    { name: "main", text: files["main.json"], kept: true },
  ]);
});

test("a file that is another here comes under a new name, and those that call it call that", () => {
  const files = { "main.json": file("middle.json", "same.json"), "middle.json": file("inner.json"), "inner.json": file(), "same.json": file() };
  const known = { main: files["main.json"], middle: files["middle.json"], inner: file("x.json"), same: files["same.json"] };
  const found = filesOf({ workflow: "main.json", files }, known, new Set(Object.keys(known)));
  expect(found.map((one) => [one.name, one.kept])).toEqual([["main_2", false], ["middle_2", false], ["inner_2", false]]);
  expect(JSON.parse(found[0]!.text).nodes).toMatchObject({ n0: { path: "middle_2.json" }, n1: { path: "same.json" } });
  expect(JSON.parse(found[1]!.text).nodes.n0.path).toBe("inner_2.json");
  expect(found[2]!.text).toBe(files["inner.json"]);
});

test("files of folders come to lie in one, and calls in bodies of loops follow", () => {
  const loop = JSON.stringify({ stepgraph: 1, nodes: { l: { type: "loop", body: { nodes: { n: { type: "workflow", path: "../b.json" } } } } } });
  const found = filesOf({ workflow: "deep/a.json", files: { "deep/a.json": loop, "b.json": file() } }, {}, new Set());
  expect(found.map((one) => one.name)).toEqual(["a", "b"]);
  expect(JSON.parse(found[0]!.text).nodes.l.body.nodes.n.path).toBe("b.json");
});

test("a workflow that calls itself in a circle ends", () => {
  const files = { "a.json": file("b.json"), "b.json": file("a.json") };
  expect(filesOf({ workflow: "a.json", files }, {}, new Set()).map((one) => one.name)).toEqual(["a", "b"]);
});

test("what a text is", () => {
  expect(isWorkflow(file())).toBe(true);
  expect(isWorkflow('{"stepgraph_nodes": 1, "nodes": {}}')).toBe(false);
  expect(isWorkflow('{"nodes": {}}')).toBe(false);
  expect(isWorkflow('[{"stepgraph": 1, "nodes": {}}]')).toBe(false);
  expect(isWorkflow('{"stepgraph": 1, "nodes": {},}')).toBe(false);
});

test("what a file is, its bytes say", () => {
  const bytes = (...all: number[]) => Uint8Array.from(all);
  const text = (words: string) => new TextEncoder().encode(words);
  expect(kindOf(bytes(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0))).toBe("png");
  expect(kindOf(bytes(0xff, 0xd8, 0xff, 0xe0))).toBe("picture");
  expect(kindOf(text("RIFF\0\0\0\0WEBPVP8 "))).toBe("picture");
  expect(kindOf(text('{"a": 1}'))).toBe("text");
  expect(kindOf(bytes())).toBe("text");
});

const summary = (name: string, shipped = true) => ({ name, title: name, description: "", shipped }) as WorkflowSummary;

test("every shipped workflow stands in a group, once, and those to learn from come first", () => {
  const folder = new URL("../../../../workflows/", import.meta.url);
  const names = readdirSync(folder).filter((name) => name.endsWith(".json")).map((name) => name.replace(".json", ""));
  const groups = templates([...names.map((name) => summary(name)), summary("mine", false)]);
  expect(groups[0]!.workflows.map((one) => one.name)).toEqual(["learn_loop", "learn_conditioning", "learn_plugin"]);
  expect(groups.flatMap((group) => group.workflows.map((one) => one.name)).sort()).toEqual(names.sort());
});

test("a search takes all words, anywhere", () => {
  const all = [{ name: "a", title: "Text to image", description: "guidance" }, { name: "b", title: "Other", description: "" }];
  expect(matching(all, "GUID text").map((one) => one.name)).toEqual(["a"]);
  expect(matching(all, " ").length).toBe(2);
  expect(matching(all, "zzz")).toEqual([]);
});
