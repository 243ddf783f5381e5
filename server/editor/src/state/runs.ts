/** The jobs that this page started or watches, and how each node of them stands. */

import type { StateCreator } from "zustand";
import { ApiProblem, api } from "../api/client";
import { socket } from "../api/socket";
import type { Asked, Job, Problem } from "../api/types";
import type { Tree } from "../document/syntax";
import { askedRun } from "./checking";
import { rootDoc } from "./documents";
import { hearAll } from "./hearing";
import { type Heard, type NodeRun, QUEUED, type Run, isActive, newRun } from "./noderun";
import type { Store } from "./store";

export { type Heard, type NodeRun, type Run, isActive, staticPath } from "./noderun";

export type RunsSlice = {
  runs: Readonly<Record<string, Run>>;
  /** The run that the canvas shows, by document. */
  shown: Readonly<Record<string, string>>;
  /** Ids of jobs that this page started, the newest last. */
  mine: readonly string[];

  /**
   * Runs the document of the tab with all unsaved texts, or what is asked, as a run of a document. It is shown at once,
   * or, where one that is shown is at work still, as soon as it begins. Gives null where the
   * server refused it; what is wrong then stands with the checker's problems.
   */
  startRun(asked?: Asked, doc?: string): Promise<Job | null>;
  /** Watches a job and shows it on the canvas of a document. */
  showRun(doc: string, job: Job | null, tree?: Tree | null): void;
  /** Watches a job of a document without showing it yet. */
  followRun(doc: string, job: Job, tree?: Tree | null): void;
  putJob(job: Job): void;
  /** Puts mistakes of a document where those that the checker found stand. */
  putProblems(doc: string, problems: readonly Problem[]): void;
  hear(heard: readonly Heard[]): void;
};

/** Runs that are remembered; beyond them, those that ended and are not shown leave first. */
export const MOST_RUNS = 20;

const beforeRuns = new Set<() => void>();

/** Has something done before each run of the tab, as drawing the next seed; returns what ends that. */
export function beforeRun(action: () => void): () => void {
  beforeRuns.add(action);
  return () => beforeRuns.delete(action);
}

export const createRuns: StateCreator<Store, [], [], RunsSlice> = (set, get) => ({
  runs: {},
  shown: {},
  mine: [],

  async startRun(given, doc = rootDoc(get())?.name) {
    if (given === undefined) for (const action of beforeRuns) action();
    const asked = given ?? askedRun(get());
    if (asked === null || doc === undefined) return null;
    performance.mark("run asked");
    try {
      const tree = get().docs[doc]?.history.now.tree ?? null;
      const job = await api.run({ ...asked, previews: true });
      set((state) => ({ mine: [...state.mine, job.id] }));
      if (isBusy(get(), doc)) get().followRun(doc, job, tree);
      else get().showRun(doc, job, tree);
      return job;
    } catch (problem) {
      if (!(problem instanceof ApiProblem)) throw problem;
      refused(get(), doc, problem);
      return null;
    }
  },

  showRun(doc, job, tree = null) {
    set((state) => ({ shown: job === null ? without(state.shown, doc) : { ...state.shown, [doc]: job.id } }));
    if (job !== null) get().followRun(doc, job, tree);
  },

  followRun(doc, job, tree = null) {
    set((state) => ({ runs: withRun(state, doc, job, tree) }));
    const known = get().runs[job.id]?.after ?? 0;
    if (known === 0 || isActive(job)) socket.watch(job.id, known);
  },

  putJob: (job) =>
    set(({ runs }) => {
      const run = runs[job.id];
      return run === undefined ? {} : { runs: { ...runs, [job.id]: { ...run, job } } };
    }),

  putProblems: (doc, problems) => set((state) => withProblems(state, doc, problems)),

  hear(heard) {
    const before = get().runs;
    set(({ runs }) => ({ runs: heardBy(runs, heard) }));
    for (const [id, run] of Object.entries(get().runs)) {
      if (run === before[id]) continue;
      revokeReplaced(before[id]?.previews ?? {}, run.previews);
      if (!isActive(run.job)) settle(get(), run);
      else if (run.job.state === "running" && mayShow(get(), run))
        set(({ shown }) => ({ shown: { ...shown, [run.doc]: id } }));
    }
  },
});

/** Frees the pictures of calls that have newer ones. */
function revokeReplaced(before: Run["previews"], after: Run["previews"]): void {
  if (before === after) return;
  for (const [call, url] of Object.entries(before)) if (after[call] !== url) URL.revokeObjectURL(url);
}

function heardBy(runs: RunsSlice["runs"], heard: readonly Heard[]): RunsSlice["runs"] {
  const made = { ...runs };
  for (const [id, run] of Object.entries(runs)) {
    const own = heard.filter(({ event }) => event.job === id);
    made[id] = hearAll(run, own);
  }
  return made;
}

/** A run ended: its job is read once more; mistakes that it found in the file as it still is stand at the fields. */
function settle(state: Store, run: Run): void {
  socket.unwatch(run.job.id);
  api.job(run.job.id).then(state.putJob, () => undefined); // the event told all that matters
  const problems = run.job.error?.problems ?? [];
  const unchanged = run.tree !== null && state.docs[run.doc]?.history.now.tree === run.tree;
  if (problems.length > 0 && unchanged) state.putProblems(run.doc, problems);
}

function withRun(state: Store, doc: string, job: Job, tree: Tree | null): RunsSlice["runs"] {
  const known = state.runs[job.id];
  const paths = Object.keys(state.checks[doc]?.types ?? {});
  const run = known ? { ...known, job } : newRun(job, doc, paths, tree);
  return fewer({ ...without(state.runs, job.id), [job.id]: run }, new Set(Object.values(state.shown)));
}

/** A run of this page that begins is shown, unless another one of its document is at work there. */
function mayShow(state: Store, run: Run): boolean {
  return state.mine.includes(run.job.id) && state.runs[state.shown[run.doc] ?? ""]?.job.state !== "running";
}

/** Whether the run that a document shows is at work or waits. */
function isBusy(state: Store, doc: string): boolean {
  const job = state.runs[state.shown[doc] ?? ""]?.job;
  return job !== undefined && isActive(job);
}

function without<T>(record: Readonly<Record<string, T>>, key: string): Record<string, T> {
  const { [key]: _, ...others } = record;
  return others;
}

/** Forgets the oldest runs beyond the most that are kept, with their pictures. */
function fewer(runs: RunsSlice["runs"], used: ReadonlySet<string>): RunsSlice["runs"] {
  const old = Object.values(runs).filter((run) => !isActive(run.job) && !used.has(run.job.id));
  const leaving = old.slice(0, Math.max(0, Object.keys(runs).length - MOST_RUNS));
  for (const run of leaving) Object.values(run.previews).forEach((url) => URL.revokeObjectURL(url));
  const gone = new Set(leaving.map((run) => run.job.id));
  return Object.fromEntries(Object.entries(runs).filter(([id]) => !gone.has(id)));
}

/** A run that the server refused: its mistakes stand where the checker's do. */
function refused(state: Store, doc: string, problem: ApiProblem): void {
  if (problem.problems.length > 0) {
    state.putProblems(doc, problem.problems);
    state.setBottom("problems");
  }
  state.say("error", `It was not run. ${problem.message}`);
}

function withProblems(state: Store, doc: string, problems: readonly Problem[]): Partial<Store> {
  const named = problems.map((one) => ({
    ...one,
    text: one.text ?? `${one.file}:${one.line}:${one.column}: ${one.message}`,
  }));
  return { checks: { ...state.checks, [doc]: { ...state.checks[doc], ok: false, problems: named } } };
}

/** The run that the canvas shows for the tab. */
export function shownRun(state: Pick<Store, "tabs" | "active" | "docs" | "runs" | "shown">): Run | undefined {
  return state.runs[state.shown[rootDoc(state)?.name ?? ""] ?? ""];
}

/** The ends of levels are called by nothing. */
const END = /(^|\.)@\w+$/;

/** How a node stands in the run that is shown, by its path from the file that is run; undefined where none tells. */
export function nodeRun(
  state: Pick<Store, "tabs" | "active" | "docs" | "runs" | "shown">,
  path: string,
): NodeRun | undefined {
  const run = shownRun(state);
  return run && (run.nodes[path] ?? (isActive(run.job) && !END.test(path) ? QUEUED : undefined));
}
