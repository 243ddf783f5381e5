/** The calls of the run that is looked at: their keys, and how far they are. One list for all who look. */

import { useEffect } from "react";
import { create } from "zustand";
import { ApiProblem, api } from "../api/client";
import { useStore } from "../state/store";
import type { Looked } from "./looked";
import { type Told, follow } from "./stream";

export type Call = {
  key: string;
  /** Whether its value was made: in this run, or earlier. */
  there: boolean;
  /** Whether it was there before this run, which then did not compute it. */
  cached: boolean;
  /** What it took to compute; null where no event told. */
  seconds: number | null;
};

type State = {
  calls: ReadonlyMap<string, Call>;
  /** Lengths of loops, as the run told them. */
  totals: Readonly<Record<string, number>>;
  /** What kept the server from telling the keys, in its words. */
  problem: string;
};

const EMPTY: State = { calls: new Map(), totals: {}, problem: "" };

export const useCallStore = create<State>()(() => EMPTY);

/** Pause after the last change before keys are asked for, and between two updates of what is shown. */
const ASK_MILLISECONDS = 300;
const SHOW_MILLISECONDS = 80;

/** The calls of a run, kept up to date as long as somebody looks. */
export function useCalls(looked: Looked | null): State {
  const signature = looked?.signature;
  const job = looked?.job ?? null;
  const active = looked?.active ?? false;
  const online = useStore((state) => state.online);
  useEffect(() => (looked ? shared.hold(looked) : undefined), [signature, job, active, online]);
  return useCallStore();
}

/**
 * Responsibilities: ask for the keys of one run and hear its events, once, however many look at it.
 */
class Watch {
  private about = "";
  private job: string | null = null;
  private users = 0;
  private stop: () => void = () => undefined;

  hold(looked: Looked): () => void {
    const about = `${looked.signature} ${looked.job} ${looked.active}`;
    this.users++;
    if (about !== this.about) this.begin(looked, about);
    return () => {
      this.users--;
      setTimeout(() => this.users === 0 && this.end());
    };
  }

  private begin(looked: Looked, about: string): void {
    this.stop();
    if (looked.job === null || looked.job !== this.job) useCallStore.setState(EMPTY);
    this.about = about;
    this.job = looked.job;
    const stops = [askKeys(looked), looked.job === null ? () => undefined : hearCalls(looked.job)];
    this.stop = () => stops.forEach((stop) => stop());
  }

  private end(): void {
    this.stop();
    this.about = "";
    this.job = null;
  }
}

const shared = new Watch();

function askKeys({ asked }: Looked): () => void {
  let wanted = true;
  const timer = setTimeout(() => {
    api.keys(asked).then(
      ({ keys }) => {
        if (wanted) useCallStore.setState(({ calls }) => ({ calls: withKeys(calls, keys), problem: "" }));
      },
      (problem: unknown) => {
        if (wanted) useCallStore.setState({ problem: problem instanceof ApiProblem ? problem.message : String(problem) });
      },
    );
  }, ASK_MILLISECONDS);
  return () => {
    wanted = false;
    clearTimeout(timer);
  };
}

/** What the server knows of all calls, beside what events told of those that ran. */
export function withKeys(calls: ReadonlyMap<string, Call>, keys: Readonly<Record<string, { key: string; cached: boolean }>>): Map<string, Call> {
  const made = new Map(calls);
  for (const [name, { key, cached }] of Object.entries(keys)) {
    const known = calls.get(name);
    if (known === undefined || known.key !== key) made.set(name, { key, there: cached, cached, seconds: null });
    else if (cached && !known.there) made.set(name, { ...known, there: true });
  }
  return made;
}

function hearCalls(job: string): () => void {
  let waiting: Told[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const show = () => {
    const told = waiting;
    waiting = [];
    timer = undefined;
    useCallStore.setState(({ calls, totals }) => ({ calls: withEvents(calls, told), totals: withTotals(totals, told) }));
  };
  const stop = follow(
    job,
    (told) => {
      waiting.push(told);
      timer ??= setTimeout(show, SHOW_MILLISECONDS);
    },
    () => undefined, // the canvas tells how it ended
  );
  return () => {
    clearTimeout(timer);
    stop();
  };
}

/** What events tell: a call that a later node looks up again stays one that was computed. */
export function withEvents(calls: ReadonlyMap<string, Call>, told: readonly Told[]): Map<string, Call> {
  const made = new Map(calls);
  for (const { event, node, key, seconds } of told) {
    const known = made.get(node);
    if (event === "finished") made.set(node, { key, there: true, cached: false, seconds: seconds ?? null });
    else if (event === "cached" && !(known?.there && !known.cached)) made.set(node, { key, there: true, cached: true, seconds: seconds ?? null });
    else if (event === "started" && known === undefined) made.set(node, { key, there: false, cached: false, seconds: null });
  }
  return made;
}

function withTotals(totals: State["totals"], told: readonly Told[]): State["totals"] {
  const expanded = told.filter(({ event }) => event === "expanded");
  return expanded.length === 0 ? totals : { ...totals, ...Object.fromEntries(expanded.map(({ node, total }) => [node.replace(/\[\d+\]/g, ""), total])) };
}
