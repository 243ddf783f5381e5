/** What is shown of each step: its picture, as good as there is one. */

import { api } from "../api/client";
import { callName } from "../graph/origin";
import { useStore } from "../state/store";
import { shownRun } from "../state/runs";
import type { Decoded } from "./decoded";
import type { Looked } from "./looked";
import type { Instance, Step } from "./steps";

export type ShownStep = Step & {
  /** Addresses of its picture, the best first. */
  urls: readonly string[];
  decoded: boolean;
  timestep: number | null;
};

export function shownSteps(steps: readonly Step[], instance: Instance, decoded: Decoded, looked: Looked, timesteps: readonly number[]): ShownStep[] {
  const previews = looked.job === null ? {} : (shownRun(useStore.getState())?.previews ?? {});
  return steps.map((step) => {
    const made = decoded.path && decoded.pictures.get(callName(decoded.path, { ...instance.outer, [instance.loop.path]: step.index }));
    const heard = previews[step.call];
    const small = step.done && step.key ? [api.previewUrl(step.key)] : [];
    const urls = [...(made ? [api.previewUrl(made)] : []), ...(heard ? [heard] : []), ...small];
    return { ...step, urls, decoded: Boolean(made), timestep: timesteps[step.index] ?? null };
  });
}

/** A timestep as people write it: samplers may have others than whole ones. */
export function timestepText(timestep: number | null): string {
  return timestep === null ? "" : String(Number(timestep.toFixed(2)));
}
