/** The events of one job from its beginning on, besides those that the canvas hears. */

import type { JobState } from "../api/types";

export type Told = { event: string; node: string; key: string; seconds: number; total: number };

const KINDS = ["expanded", "started", "finished", "cached", "failed"] as const;
const ENDS: readonly string[] = ["succeeded", "failed", "cancelled"];

/** Tells the events of a job until it ends (null: the server does not know it); returns what stops that. */
export function follow(job: string, hear: (told: Told) => void, ended: (state: JobState | null, words: string) => void): () => void {
  const source = new EventSource(`/api/v1/jobs/${job}/events`);
  for (const kind of KINDS) source.addEventListener(kind, (event) => hear({ event: kind, ...read(event) } as Told));
  source.addEventListener("state", (event) => {
    const { state, error } = read(event) as { state: JobState; error?: { message?: string } };
    if (!ENDS.includes(state)) return;
    source.close();
    ended(state, error?.message ?? "");
  });
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) ended(null, "The server does not know this job any more.");
  };
  return () => source.close();
}

function read(event: Event): Record<string, unknown> {
  return JSON.parse((event as MessageEvent<string>).data) as Record<string, unknown>;
}
