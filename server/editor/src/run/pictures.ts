/** The pictures that jobs made, newest first, and those of them that are chosen to be compared. */

import { create } from "zustand";
import { api } from "../api/client";
import type { Job } from "../api/types";
import { joined } from "./jobs";

/** A picture: the output of a job that it is, and its number where the output is several. */
export type Picture = { job: Job; file: string; output: string; number: number; of: number };

type Gallery = {
  jobs: readonly Job[];
  pictures: readonly Picture[];
  older: string | null;
  loaded: boolean;
  problem: string;
  /** The pictures to compare, at most two, as `keyOf` names them. */
  chosen: readonly string[];
};

const PAGE = 24;

export const useGallery = create<Gallery>(() => ({
  jobs: [],
  pictures: [],
  older: null,
  loaded: false,
  problem: "",
  chosen: [],
}));

export function picturesOf(jobs: readonly Job[]): Picture[] {
  return jobs.flatMap((job) =>
    Object.entries(job.result ?? {}).flatMap(([output, { files }]) => {
      const pictures = files.filter((file) => file.media_type.startsWith("image/"));
      return pictures.map(({ id }, number) => ({ job, file: id, output, number, of: pictures.length }));
    }),
  );
}

/** Each file once, with the job that made it: later jobs, which come before it, had it from the cache. */
export function onceEach(pictures: readonly Picture[]): Picture[] {
  const makers = new Map(pictures.map((picture) => [picture.file, picture]));
  return pictures.filter((picture) => makers.get(picture.file) === picture);
}

/** Names a picture among all that are known. */
export function keyOf(picture: Picture): string {
  return `${picture.job.id} ${picture.output} ${picture.number}`;
}

/** Asks for the newest pictures. */
export async function loadPictures(): Promise<void> {
  await load(undefined);
}

export async function loadOlderPictures(): Promise<void> {
  await load(useGallery.getState().older ?? undefined);
}

async function load(before: string | undefined): Promise<void> {
  try {
    const page = await api.jobs({ state: "succeeded", limit: PAGE, before });
    useGallery.setState((state) => {
      const jobs = joined(page.jobs, state.jobs);
      const deeper = before === undefined && state.jobs.length > PAGE;
      return {
        jobs,
        pictures: onceEach(picturesOf(jobs)),
        older: deeper ? state.older : page.next,
        loaded: true,
        problem: "",
      };
    });
  } catch (problem) {
    useGallery.setState({ problem: (problem as Error).message });
  }
}

/** Chooses a picture to compare, or no longer; the third one takes the place of the first. */
export function choose(picture: Picture, chosen: boolean): void {
  const key = keyOf(picture);
  useGallery.setState((state) => {
    const others = state.chosen.filter((one) => one !== key);
    return { chosen: chosen ? [...others, key].slice(-2) : others };
  });
}
