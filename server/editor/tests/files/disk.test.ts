import { describe, expect, test } from "vitest";
import { apply, begin, undo } from "../../src/document/history";
import { write } from "../../src/document/syntax";
import { baseOf, changes, named, orphaned, reconcile, resolve } from "../../src/files/reconcile";
import { type Doc, isDirty, textOf } from "../../src/state/documents";

const file = (a: number, b: number, more = "") =>
  `{\n  "stepgraph": 1,\n  "nodes": {\n    "a": {"type": "x", "inputs": {"k": ${a}}},\n    "b": {"type": "y", "inputs": {"k": ${b}}}${more}\n  },\n  "outputs": {}\n}\n`;

const opened = (text: string): Doc => ({ name: "f", history: begin(text), saved: text, version: '"1"', shipped: false });
const setting = (doc: Doc, node: string, value: number): Doc => ({
  ...doc,
  history: apply(doc.history, { edits: [{ op: "set", path: ["nodes", node, "inputs", "k"], value }], label: "set" }, 1),
});
const stored = (text: string) => ({ text, version: '"2"' });

test("a clean file takes the disk's text, and undo gives the former one", () => {
  const outcome = reconcile(opened(file(1, 1)), stored(file(1, 2)), file(1, 1), 5);
  if (outcome.kind !== "taken") throw new Error(outcome.kind);
  expect(textOf(outcome.doc)).toBe(file(1, 2));
  expect(isDirty(outcome.doc)).toBe(false);
  expect(outcome.doc.version).toBe('"2"');
  expect(outcome.changes).toEqual(["node b"]);
  expect(write(undo(outcome.doc.history).now.tree)).toBe(file(1, 1));
});

test("changes of different nodes are merged, and stay to be saved", () => {
  const outcome = reconcile(setting(opened(file(1, 1)), "a", 7), stored(file(1, 2)), file(1, 1), 5);
  if (outcome.kind !== "merged") throw new Error(outcome.kind);
  expect(textOf(outcome.doc)).toBe(file(7, 2));
  expect(outcome.doc.saved).toBe(file(1, 2));
  expect(isDirty(outcome.doc)).toBe(true);
});

describe("changes of one place", () => {
  const mine = setting(opened(file(1, 1)), "a", 7);
  const outcome = reconcile(mine, stored(file(9, 2)), file(1, 1), 5);
  if (outcome.kind !== "clash") throw new Error(outcome.kind);
  test("are asked about, with both values", () => {
    expect(outcome.clash.conflicts).toHaveLength(1);
    expect([outcome.clash.conflicts[0]!.mine, outcome.clash.conflicts[0]!.theirs]).toEqual([7, 9]);
  });
  test.each([["mine", 7], ["theirs", 9]] as const)("%s stays, and what is different elsewhere comes along", (choice, value) => {
    const doc = resolve(mine, outcome.clash, [choice], 6);
    expect(textOf(doc)).toBe(file(value, 2));
    expect(doc.version).toBe('"2"');
    expect(textOf({ ...doc, history: undo(doc.history) })).toBe(file(7, 1));
  });
});

test("a node that one removed and the other changed is asked about, and can go or stay", () => {
  const without = file(1, 1).replace(/,\n {4}"b".*\n/, "\n");
  const outcome = reconcile(setting(opened(file(1, 1)), "b", 7), stored(without), file(1, 1), 5);
  if (outcome.kind !== "clash") throw new Error(outcome.kind);
  const doc = setting(opened(file(1, 1)), "b", 7);
  expect(textOf(resolve(doc, outcome.clash, ["theirs"], 6))).toBe(without);
  expect(textOf(resolve(doc, outcome.clash, ["mine"], 6))).toContain('"b": {"type": "y", "inputs": {"k": 7}}');
});

test("a text that is no JSON is not taken over", () => {
  const outcome = reconcile(opened(file(1, 1)), stored('{"stepgraph": 1,'), file(1, 1), 5);
  expect(outcome).toMatchObject({ kind: "unreadable", message: expect.stringContaining("1:17") });
});

test("a repaired file that was repaired on the disk in another way is asked about", () => {
  const doc = { ...opened(file(7, 1)), saved: "{broken" };
  const outcome = reconcile(doc, stored(file(9, 1)), "{broken", 5);
  if (outcome.kind !== "clash") throw new Error(outcome.kind);
  expect(textOf(resolve(doc, outcome.clash, outcome.clash.conflicts.map(() => "theirs"), 6))).toBe(file(9, 1));
});

test("what this page saved itself changes nothing", () => {
  const doc = setting(opened(file(1, 1)), "a", 7);
  const outcome = reconcile(doc, stored(file(7, 1)), file(1, 1), 5);
  if (outcome.kind !== "same") throw new Error(outcome.kind);
  expect(isDirty(outcome.doc)).toBe(false);
  expect(outcome.doc.history).toBe(doc.history);
});

test("a file that went and came back is merged with what it was", () => {
  const doc = setting(opened(file(1, 1)), "a", 7);
  const gone = orphaned(doc);
  expect(isDirty(gone)).toBe(true);
  expect(baseOf(gone, new Map())).toBeNull();
  const base = baseOf(gone, new Map([["f", file(1, 1)]]))!;
  const outcome = reconcile(gone, stored(file(1, 2)), base, 5);
  expect(outcome.kind === "merged" && textOf(outcome.doc)).toBe(file(7, 2));
});

test("a file that came back as it was is that file again", () => {
  const gone = orphaned(opened(file(1, 1)));
  const outcome = reconcile(gone, stored(file(1, 1)), file(1, 1), 5);
  expect(outcome.kind === "same" && isDirty(outcome.doc)).toBe(false);
});

test("what differs is named", () => {
  expect(changes(file(1, 1), file(2, 1, ',\n    "c": {"type": "z"}'))).toEqual(["node a", "node c"]);
  expect(changes(file(1, 1), file(1, 1))).toEqual([]);
  expect(changes(file(1, 1), file(1, 2).replace('"outputs": {}', '"outputs": {"o": {"from": "a"}}'))).toEqual(["outputs", "node b"]);
  expect(changes("{", file(1, 1))).toContain("node a");
  expect(named(["a", "b"])).toBe("a, b");
  expect(named(["a", "b", "c", "d", "e", "f"])).toBe("a, b, c, d and 2 more");
});
