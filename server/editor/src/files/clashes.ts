/** Files that changed on the disk and here in the same places, until somebody decides. */

import { create } from "zustand";
import type { Clash } from "./reconcile";

type Clashes = { clashes: Readonly<Record<string, Clash>>; put(clash: Clash): void; drop(name: string): void };

export const useClashes = create<Clashes>()((set) => ({
  clashes: {},
  put: (clash) => set((state) => ({ clashes: { ...state.clashes, [clash.name]: clash } })),
  drop: (name) =>
    set((state) => {
      const { [name]: _, ...others } = state.clashes;
      return { clashes: others };
    }),
}));
