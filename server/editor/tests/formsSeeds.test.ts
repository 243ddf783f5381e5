import { beforeEach, expect, test } from "vitest";

/** What a browser has and Node has not. */
class Storage extends Map<string, string> {
  getItem = (key: string) => this.get(key) ?? null;
  setItem = (key: string, value: string) => void this.set(key, value);
}

Object.defineProperty(globalThis, "localStorage", { value: new Storage(), configurable: true });
const { advanceSeeds, randomSeed, seedName, setLocked, useUnlocked } = await import("../src/state/seeds");
const { useStore } = await import("../src/state/store");
const { rootDoc, textOf } = await import("../src/state/documents");

const FILE = JSON.stringify({
  stepgraph: 1,
  inputs: { seed: { type: "integer", default: 0 }, other_seed: { type: "integer", default: 1 } },
  nodes: {
    dice: { type: "seed_generators", inputs: { seed: 5 } },
    linked: { type: "seed_generators", inputs: { seed: { from: "inputs.seed" } } },
  },
});
const state = () => rootDoc(useStore.getState())!.history;

beforeEach(() => {
  for (const seed of useUnlocked.getState().seeds) setLocked(seed, true);
  useStore.setState({ docs: {}, tabs: [], active: 0 });
  useStore.getState().openText("w", FILE);
});

test("a seed is a whole number from 0 to 2^32 - 1, and another one each time", () => {
  const seeds = Array.from({ length: 50 }, randomSeed);
  expect(seeds.every((seed) => Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)).toBe(true);
  expect(new Set(seeds).size).toBeGreaterThan(45);
});

test("locked seeds stay, and nothing is to be undone", () => {
  advanceSeeds();
  expect(state().now.values).toEqual({});
  expect(state().past).toEqual([]);
});

test("seeds that are not locked change, beside the file and in it, in one step of undo", () => {
  setLocked(seedName("w", ["inputs", "seed"]), false);
  setLocked(seedName("w", ["nodes", "dice", "inputs", "seed"]), false);
  advanceSeeds();
  expect(Object.keys(state().now.values)).toEqual(["seed"]);
  const dice = JSON.parse(textOf(rootDoc(useStore.getState())!)).nodes.dice.inputs.seed as number;
  expect(dice === 5).toBe(false);
  useStore.getState().undo();
  expect(textOf(rootDoc(useStore.getState())!)).toBe(FILE);
  expect(state().now.values).toEqual({});
});

test("a seed that is a link now, is gone, or is one of another file is left alone", () => {
  for (const path of [
    ["nodes", "linked", "inputs", "seed"],
    ["nodes", "gone", "inputs", "seed"],
    ["inputs", "gone"],
  ])
    setLocked(seedName("w", path), false);
  setLocked(seedName("x", ["inputs", "seed"]), false);
  advanceSeeds();
  expect(state().past).toEqual([]);
});

test("the browser remembers what is not locked", () => {
  const seed = seedName("w", ["inputs", "seed"]);
  setLocked(seed, false);
  expect(localStorage.getItem("stepgraph.unlocked-seeds")).toBe(JSON.stringify([seed]));
  setLocked(seed, true);
  expect(localStorage.getItem("stepgraph.unlocked-seeds")).toBe("[]");
});
