/** What is looked at in loops: which loop, which iteration of each, what of it. Timeline and inspector share it. */

import { create } from "zustand";
import type { Iterations } from "../graph/origin";
import type { Shown } from "./decoding";

/** A value that was pinned, to compare others with it. */
export type Pin = { label: string; key: string };

/** Which loop is branched, in which iterations of what is around it, and after which of its steps (from 0). */
export type BranchAbout = { loop: string; name: string; outer: Iterations; index: number; count: number };

type Place = {
  /** The step that the timeline shows; null where it shows none. */
  step: BranchAbout | null;
  /** The path of the loop that the timeline shows; where it is not in the workflow, the first loop is shown. */
  loop: string;
  at: Iterations;
  shown: Shown;
  pin: Pin | null;
  setStep(step: BranchAbout | null): void;
  setLoop(path: string): void;
  go(loop: string, index: number): void;
  show(shown: Shown): void;
  setPin(pin: Pin | null): void;
};

export const usePlace = create<Place>()((set) => ({
  step: null,
  loop: "",
  at: {},
  shown: "originals",
  pin: null,
  setStep: (step) => set({ step }),
  setLoop: (loop) => set({ loop }),
  go: (loop, index) => set(({ at }) => ({ at: { ...at, [loop]: index } })),
  show: (shown) => set({ shown }),
  setPin: (pin) => set({ pin }),
}));
