import { describe, expect, test } from "vitest";
import { apply, begin } from "../../src/document/history";
import { addressOf, readAddress, writeAddress } from "../../src/files/address";
import { unsavedIn } from "../../src/files/commands";
import { remaining } from "../../src/files/levels";
import { caller, moved, without } from "../../src/files/saving";
import { type Crumb, type Doc, type Tab, isDirty, textOf } from "../../src/state/documents";

const TEXT = '{"stepgraph": 1, "nodes": {"n": {"type": "workflow", "path": "inner.json"}, "l": {"type": "loop", "body": {"nodes": {}}}}}';

const doc = (name: string, saved: string | null = TEXT): Doc => ({ name, history: begin(TEXT), saved, version: '"1"', shipped: false });
const edited = (one: Doc): Doc => ({
  ...one,
  history: apply(one.history, { edits: [{ op: "set", path: ["title"], value: "T" }], label: "t" }, 1),
});
const root = (name: string): Crumb => ({ doc: name, body: [], via: [] });
const inner: Crumb = { doc: "inner", body: [], via: ["n"] };
const tab = (...crumbs: Crumb[]): Tab => ({ crumbs });
const docs = (...all: Doc[]) => Object.fromEntries(all.map((one) => [one.name, one]));

describe("a document that got another name", () => {
  test("takes its tab along, and the old file is shown no more", () => {
    const state = { docs: docs(edited(doc("a"))), tabs: [tab(root("a"))], active: 0 };
    const after = moved(state, "a", { ...state.docs.a!, name: "b" });
    expect(after.tabs).toEqual([tab(root("b"))]);
    expect(Object.keys(after.docs)).toEqual(["b"]);
  });
  test("leaves other tabs with the old file as it is saved", () => {
    const state = { docs: docs(doc("a"), edited(doc("inner"))), tabs: [tab(root("a"), inner), tab(root("inner"))], active: 1 };
    const after = moved(state, "inner", { ...state.docs.inner!, name: "mine" });
    expect(after.tabs).toEqual([tab(root("a"), inner), tab(root("mine"))]);
    expect(isDirty(after.docs.inner!)).toBe(false);
    expect(textOf(after.docs.mine!)).toContain('"T"');
  });
  test("takes all tabs along where it was never saved", () => {
    const state = { docs: docs(doc("a"), doc("inner", null)), tabs: [tab(root("a"), inner), tab(root("inner"))], active: 1 };
    const after = moved(state, "inner", { ...state.docs.inner!, name: "mine" });
    expect(after.tabs.map((one) => one.crumbs.at(-1)!.doc)).toEqual(["mine", "mine"]);
    expect(after.docs.inner).toBeUndefined();
  });
  test("replaces the tab of the file that it covers", () => {
    const state = { docs: docs(doc("a"), doc("b")), tabs: [tab(root("b")), tab(root("a"))], active: 1 };
    const after = moved(state, "a", { ...state.docs.a!, name: "b" });
    expect([after.tabs, after.active]).toEqual([[tab(root("b"))], 0]);
  });
  test("saved under its own name it stays where it is", () => {
    const state = { docs: docs(doc("x"), edited(doc("a"))), tabs: [tab(root("x")), tab(root("a"))], active: 1 };
    const after = moved(state, "a", { ...state.docs.a!, saved: textOf(state.docs.a!) });
    expect([after.tabs, after.active]).toEqual([state.tabs, 1]);
    expect(isDirty(after.docs.a!)).toBe(false);
  });
});

test("who calls the file that is shown", () => {
  const state = { tabs: [tab(root("a"), inner)], active: 0 };
  expect(caller(state, "inner")).toEqual({ doc: "a", path: ["nodes", "n"] });
  expect(caller(state, "a")).toBeNull();
});

test("a removed file leaves its tabs, and the levels of others that were in it", () => {
  const state = { docs: docs(doc("a"), doc("inner")), tabs: [tab(root("inner")), tab(root("a"), inner)], active: 1 };
  expect(without(state, "inner")).toMatchObject({ tabs: [tab(root("a"))], active: 0, docs: docs(state.docs.a!) });
});

test("what a closed tab would lose: not what another tab shows, and not what is saved", () => {
  const state = { docs: docs(edited(doc("a")), edited(doc("inner")), doc("b")), tabs: [tab(root("a"), inner), tab(root("inner")), tab(root("b"))] };
  expect(unsavedIn(state, 0).map((one) => one.name)).toEqual(["a"]);
  expect(unsavedIn(state, 2)).toEqual([]);
});

test("levels that are gone from a file are left", () => {
  const loop: Crumb = { doc: "a", body: ["nodes", "l", "body"], via: ["l"] };
  const tabs = [tab(root("a"), loop), tab(root("a"), inner)];
  const has = begin('{"nodes": {"n": {"type": "workflow"}}}').now.tree.root;
  expect(remaining(tabs, "a", has)).toEqual([tab(root("a")), tabs[1]]);
  expect(remaining(tabs, "other", has)).toEqual(tabs);
  expect(remaining(tabs, "a", begin(TEXT).now.tree.root)).toEqual(tabs);
});

test("addresses name files and levels, whatever the names hold", () => {
  const address = { name: "my-file_2", via: ["a/b", "ü %"] };
  expect(readAddress(writeAddress(address))).toEqual(address);
  expect(writeAddress({ name: "txt2img", via: ["denoise", "loop"] })).toBe("#txt2img/denoise/loop");
  expect(readAddress("")).toBeNull();
  expect(readAddress("#%")).toBeNull();
  expect(addressOf(tab(root("a"), inner))).toEqual({ name: "a", via: ["n"] });
  expect(addressOf(tab())).toBeNull();
});
