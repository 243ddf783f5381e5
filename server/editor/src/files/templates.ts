/** The shipped workflows in groups, for those who look for one to begin with. */

import type { WorkflowSummary } from "../api/types";

export type Group = { title: string; workflows: WorkflowSummary[] };

const GROUPS: readonly { title: string; names: readonly string[] }[] = [
  { title: "Learn", names: ["learn_loop", "learn_conditioning", "learn_plugin"] },
  {
    title: "Text to image",
    names: ["txt2img", "hires_fix", "sdxl_base_refiner", "variations", "sampler_comparison", "prompt_schedule", "area_prompts"],
  },
  {
    title: "From a picture",
    names: ["img2img", "inpaint", "repaint", "outpaint", "super_resolution", "upscale", "controlnet", "t2i_adapter", "ip_adapter", "semantic_map"],
  },
  {
    title: "Conditioning",
    names: ["conditioning_switch", "any_conditioning", "save_conditioning", "class_conditional", "textual_inversion", "fmri"],
  },
  {
    title: "Inside the loop",
    names: ["denoising_steps", "guidance", "classifier_guidance", "denoise", "predict", "denoise_controlnet", "denoise_masked"],
  },
  { title: "Models and parts", names: ["lora", "ddpm", "ddim", "improved_ddpm", "unconditional", "prompt"] },
];

/** Shipped workflows by group, in the order of the groups; those that no group names stand in the last one. */
export function templates(all: readonly WorkflowSummary[]): Group[] {
  const known = new Set(GROUPS.flatMap((group) => group.names));
  const groups = GROUPS.map(({ title, names }) => ({
    title, workflows: names.flatMap((name) => all.filter((one) => one.name === name && one.shipped)),
  })); // prettier-ignore
  const others = all.filter((one) => one.shipped && !known.has(one.name));
  groups.at(-1)!.workflows.push(...others);
  return groups.filter((group) => group.workflows.length > 0);
}

/** The workflows that match all words of a search, in name, title or description. */
export function matching<T extends Pick<WorkflowSummary, "name" | "title" | "description">>(all: readonly T[], search: string): T[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return all.filter((one) => {
    const text = `${one.name} ${one.title} ${one.description}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}
