/** The jobs of the server, as the queue panel shows them. */

import { create } from "zustand";
import { api } from "../api/client";
import type { Job } from "../api/types";
import { isActive } from "../state/noderun";
import { useStore } from "../state/store";

type Jobs = {
  running: readonly Job[];
  /** In the order in which they will run. */
  waiting: readonly Job[];
  /** The newest first, as far as they were asked for. */
  ended: readonly Job[];
  /** Whether there are older ones. */
  older: string | null;
  loaded: boolean;
  problem: string;
};

/** Waiting jobs that are shown, and ended ones that are asked for at once. */
const MOST_WAITING = 100;
const PAGE = 30;

export const useJobs = create<Jobs>(() => ({
  running: [],
  waiting: [],
  ended: [],
  older: null,
  loaded: false,
  problem: "",
}));

/** Asks for what runs, what waits and what ended last. */
export async function loadJobs(): Promise<void> {
  try {
    const [running, waiting, latest] = await Promise.all([
      api.jobs({ state: "running" }),
      api.jobs({ state: "queued", limit: MOST_WAITING }),
      api.jobs({ limit: PAGE }),
    ]);
    useJobs.setState((state) => ({
      running: running.jobs,
      waiting: waiting.jobs.toSorted((a, b) => (a.position ?? 0) - (b.position ?? 0)),
      ended: joined(
        latest.jobs.filter((job) => !isActive(job)),
        state.ended,
      ),
      older: state.ended.length > PAGE ? state.older : latest.next,
      loaded: true,
      problem: "",
    }));
  } catch (problem) {
    useJobs.setState({ problem: (problem as Error).message });
  }
}

export async function loadOlder(): Promise<void> {
  const { older } = useJobs.getState();
  if (older === null) return;
  try {
    const { jobs, next } = await api.jobs({ before: older, limit: PAGE });
    useJobs.setState((state) => ({
      ended: joined(
        jobs.filter((job) => !isActive(job)),
        state.ended,
      ),
      older: next,
    }));
  } catch (problem) {
    useStore.getState().say("error", (problem as Error).message);
  }
}

/** Jobs of both lists, each once and as the first list has it, the newest first. */
export function joined(fresh: readonly Job[], known: readonly Job[]): Job[] {
  const all = new Map([...known, ...fresh].map((job) => [job.id, job]));
  return [...all.values()].sort((a, b) => b.created - a.created);
}

/** Cancels a job and shows at once that it is ending. */
export async function cancelJob(job: Job): Promise<void> {
  await changed(api.cancel(job.id));
}

/** Queues a job that failed or was cancelled once more, and follows it where it is known. */
export async function retryJob(job: Job): Promise<void> {
  const made = await changed(api.retry(job.id));
  const doc = useStore.getState().runs[job.id]?.doc;
  if (made && doc !== undefined) useStore.getState().showRun(doc, made);
}

async function changed(answer: Promise<Job>): Promise<Job | null> {
  const { putJob, say } = useStore.getState();
  try {
    const job = await answer;
    putJob(job);
    void loadJobs();
    return job;
  } catch (problem) {
    say("error", (problem as Error).message);
    return null;
  }
}

/** Opens the workflow of a job and shows its run on the canvas. */
export async function showJob(job: Job): Promise<void> {
  const { open, showRun, runs, tabs, show, say } = useStore.getState();
  const doc = runs[job.id]?.doc ?? job.workflow;
  try {
    const at = tabs.findIndex((tab) => tab.crumbs[0]?.doc === doc);
    if (at >= 0) show(at);
    else await open(doc);
    showRun(doc, job);
  } catch (problem) {
    say("error", `The run cannot be shown: ${(problem as Error).message}`);
  }
}
