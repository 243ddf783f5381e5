/** Commands: what keys, menus and the search palette do. Each room lists its own; the shell gathers them. */

import { type Store, useStore } from "./store";

export type Command = {
  id: string;
  title: string;
  /** Keys as people write them: "Ctrl+Enter", "Delete", "?". Ctrl is Command on a Mac. */
  keys?: readonly string[];
  /** Whether the keys work while somebody types into a field. */
  inFields?: boolean;
  /** Whether the browser's own event for the keys does it (copy, paste): they are only listed then. */
  byBrowser?: boolean;
  enabled?(state: Store): boolean;
  run(state: Store): void | Promise<void>;
};

let gathered: readonly Command[] = [];

/** Makes the commands of all rooms known to those that list them; the shell gathers them. */
export function gatherCommands(commands: readonly Command[]): readonly Command[] {
  gathered = commands;
  return commands;
}

export function allCommands(): readonly Command[] {
  return gathered;
}

const MAC = typeof navigator !== "undefined" && /Mac|iP(hone|ad)/.test(navigator.platform);

/** Keys of an event in the words of commands. */
export function keysOf(event: KeyboardEvent): string {
  const parts = [];
  if (MAC ? event.metaKey : event.ctrlKey) parts.push("Ctrl");
  if (event.altKey) parts.push("Alt");
  const letter = event.key.length === 1;
  if (event.shiftKey && (!letter || /[a-z]/i.test(event.key))) parts.push("Shift");
  return [...parts, letter ? event.key.toUpperCase() : event.key].join("+");
}

/** Runs a command; what it throws is told, as nothing fails silently. */
export async function perform(command: Command): Promise<void> {
  const state = useStore.getState();
  if (command.enabled && !command.enabled(state)) return;
  try {
    await command.run(state);
  } catch (problem) {
    console.warn(problem);
    state.say("error", problem instanceof Error ? problem.message : String(problem));
  }
}
