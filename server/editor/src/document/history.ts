/** The states of a file, one after the other: undo and redo of everything, by exact texts. */

import { type Edit, applyEdits, same } from "./edit";
import { type Json, type Tree, parse, write } from "./syntax";

/** Values of the workflow's inputs for the next run; they are not part of the file. */
export type Values = Readonly<Record<string, Json>>;
export type State = { tree: Tree; values: Values; label: string; group: string | null; time: number };
export type History = { past: readonly State[]; now: State; future: readonly State[] };

/** Changes of one group (typing into a field, dragging a slider) within this time are one step of undo. */
export const GROUP_MILLISECONDS = 1500;

const MOST_STATES = 500;

export function begin(text: string, values: Values = {}): History {
  return { past: [], now: { tree: parse(text), values, label: "", group: null, time: 0 }, future: [] };
}

/** One step of undo: edits of the file, or of the values for the next run (undefined takes a value back), or both. */
export type Change = {
  edits?: readonly Edit[];
  values?: Readonly<Record<string, Json | undefined>>;
  label: string;
  group?: string;
};

/** The history with one more state; the same one if the change changes nothing. */
export function apply(history: History, change: Change, time: number): History {
  const { tree, values } = history.now;
  const next = { tree: applyEdits(tree, change.edits ?? []), values: merged(values, change.values ?? {}) };
  return advance(history, next, change.label, change.group ?? null, time);
}

function merged(values: Values, changes: Readonly<Record<string, Json | undefined>>): Values {
  const entries = Object.entries({ ...values, ...changes }).filter(([, value]) => value !== undefined);
  const made = Object.fromEntries(entries) as Values;
  return same({ ...made }, { ...values }) ? values : made;
}

/** The history with a state of another text, as from a file that changed on the disk. */
export function replaceText(history: History, text: string, label: string, time: number): History {
  return text === write(history.now.tree) ? history : advance(history, { tree: parse(text), values: history.now.values }, label, null, time);
}

type Content = Pick<State, "tree" | "values">;

function advance(history: History, content: Content, label: string, group: string | null, time: number): History {
  const { past, now } = history;
  if (content.tree === now.tree && content.values === now.values) return history;
  const next = { ...content, label, group, time };
  const joined = group !== null && now.group === group && time - now.time < GROUP_MILLISECONDS && past.length > 0;
  if (joined) return { past, now: next, future: [] };
  return { past: [...past, now].slice(-MOST_STATES), now: next, future: [] };
}

export function undo(history: History): History {
  const last = history.past.at(-1);
  if (last === undefined) return history;
  return { past: history.past.slice(0, -1), now: last, future: [history.now, ...history.future] };
}

export function redo(history: History): History {
  const [next, ...future] = history.future;
  if (next === undefined) return history;
  return { past: [...history.past, history.now], now: next, future };
}
