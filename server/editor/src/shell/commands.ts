/** All commands, and the keys that they hear. */

import { useEffect } from "react";
import { canvasCommands } from "../canvas/commands";
import { fileCommands } from "../files/commands";
import { loopCommands } from "../loop/commands";
import { runCommands } from "../run/commands";
import { inField } from "../parts/inField";
import { type Command, gatherCommands, keysOf, perform } from "../state/command";
import { useStore } from "../state/store";

const shellCommands: Command[] = [
  { id: "undo", title: "Undo", keys: ["Ctrl+Z"], run: (state) => state.undo() },
  { id: "redo", title: "Redo", keys: ["Ctrl+Shift+Z", "Ctrl+Y"], run: (state) => state.redo() },
  { id: "shortcuts", title: "Keyboard shortcuts", keys: ["?"], run: (state) => state.openDialog("shortcuts") },
];

export const commands: readonly Command[] = gatherCommands([
  ...shellCommands, ...canvasCommands, ...runCommands, ...loopCommands, ...fileCommands,
]); // prettier-ignore

/** Hears the keys of commands anywhere on the page; a dialog keeps its keys to itself. */
export function useShortcuts(): void {
  useEffect(() => {
    const hear = (event: KeyboardEvent) => {
      if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
      const keys = keysOf(event);
      const state = useStore.getState();
      const found = commands.find((one) => one.keys?.includes(keys) && !one.byBrowser && (one.enabled?.(state) ?? true));
      if (!found || (inField(event.target) && !found.inFields)) return;
      event.preventDefault();
      void perform(found);
    };
    window.addEventListener("keydown", hear);
    return () => window.removeEventListener("keydown", hear);
  }, []);
}
