/** What the page itself shows: messages, panels, dialogs, theme. */

import type { StateCreator } from "zustand";
import type { Store } from "./store";

export type Message = { id: number; kind: "info" | "error" | "success"; text: string };
export type Theme = "system" | "light" | "dark";
/** The panel at the right, and the one at the bottom; null where none is open. */
export type SidePanel = "node" | "queue" | "gallery" | "files" | "inspect";
export type BottomPanel = "timeline" | "json" | "problems";

/**
 * A value on a link: `path` is the node's (`denoise.loop.step`, or with INPUTS as its last part, `denoise.loop.@inputs`),
 * `output` the id of its output port (`latents`, or `carry.latents` of INPUTS).
 */
export type Inspected = { path: string; output: string };

export type InterfaceSlice = {
  messages: readonly Message[];
  theme: Theme;
  side: SidePanel | null;
  bottom: BottomPanel | null;
  /** The dialog that is open, by the name of its component, with what it is about. */
  dialog: { name: string; about?: unknown } | null;
  /** The value that the inspector shows: an output of a node, by its path from the file that is run; null for none. */
  inspected: Inspected | null;
  /** Whether the server answers. */
  online: boolean;

  say(kind: Message["kind"], text: string): void;
  dismiss(id: number): void;
  setTheme(theme: Theme): void;
  setSide(panel: SidePanel | null): void;
  setBottom(panel: BottomPanel | null): void;
  openDialog(name: string, about?: unknown): void;
  closeDialog(): void;
  /** Shows a value in the inspector. */
  inspect(path: string, output: string): void;
  setOnline(online: boolean): void;
};

const MOST_MESSAGES = 4;
let count = 0;

export const createInterface: StateCreator<Store, [], [], InterfaceSlice> = (set) => ({
  messages: [],
  theme: "system",
  side: "node",
  bottom: null,
  dialog: null,
  inspected: null,
  online: true,

  say: (kind, text) =>
    set((state) => {
      const others = state.messages.filter((one) => one.text !== text);
      return { messages: [...others, { id: ++count, kind, text }].slice(-MOST_MESSAGES) };
    }),
  dismiss: (id) => set((state) => ({ messages: state.messages.filter((one) => one.id !== id) })),
  setTheme: (theme) => set({ theme }),
  setSide: (side) => set({ side }),
  setBottom: (bottom) => set({ bottom }),
  openDialog: (name, about) => set({ dialog: { name, about } }),
  closeDialog: () => set({ dialog: null }),
  inspect: (path, output) => set({ inspected: { path, output }, side: "inspect" }),
  setOnline: (online) => set({ online }),
});
