/** Which seeds are locked. One that is not gets a new random number at the start of each run. */

import { create } from "zustand";
import { type Edit, type Path, nodeAt } from "../document/edit";
import { valueOf } from "../document/syntax";
import { type Doc, rootDoc } from "./documents";
import { useStore } from "./store";

const KEY = "stepgraph.unlocked-seeds";

/** Seeds that are not locked, each as a JSON text of its document and its path; remembered by the browser. */
export const useUnlocked = create<{ seeds: readonly string[] }>(() => ({ seeds: remembered() }));

function remembered(): string[] {
  const found = typeof localStorage === "undefined" ? null : localStorage.getItem(KEY);
  return found === null ? [] : (JSON.parse(found) as string[]);
}

/** The name of a seed: of an input of the workflow for its next run (`["inputs", name]`), or of a place in the file. */
export function seedName(doc: string, path: Path): string {
  return JSON.stringify([doc, ...path]);
}

export function setLocked(seed: string, locked: boolean): void {
  const others = useUnlocked.getState().seeds.filter((one) => one !== seed);
  const seeds = locked ? others : [...others, seed];
  localStorage.setItem(KEY, JSON.stringify(seeds));
  useUnlocked.setState({ seeds });
}

/** A seed from 0 to 2^32 - 1. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

/** To be called before a run: throws the dice for the seeds of the workflow that are not locked. */
export function advanceSeeds(): void {
  const doc = rootDoc(useStore.getState());
  if (doc === undefined) return;
  const values: Record<string, number> = {};
  const edits: Edit[] = [];
  for (const path of unlockedOf(doc)) {
    if (path.length === 2) values[String(path[1])] = randomSeed();
    else edits.push({ op: "set", path, value: randomSeed() });
  }
  if (edits.length === 0 && Object.keys(values).length === 0) return;
  useStore.getState().change({ values, edits, label: "New random seed" }, doc.name);
}

/** The unlocked seeds that are there still: an input of the file, or a number in it. */
function unlockedOf(doc: Doc): Path[] {
  const root = doc.history.now.tree.root;
  const named = useUnlocked.getState().seeds.map((seed) => JSON.parse(seed) as (string | number)[]);
  const paths = named.filter(([name]) => name === doc.name).map((seed) => seed.slice(1));
  return paths.filter((path) => {
    const found = nodeAt(root, path);
    return found !== undefined && (path.length === 2 || typeof valueOf(found) === "number");
  });
}
