/** Keeps runs in step with the server: events come over the WebSocket and are heard many at a time. */

import { api } from "../api/client";
import { socket } from "../api/socket";
import { type Heard, beforeRun, isActive, shownRun } from "./runs";
import { advanceSeeds } from "./seeds";
import { useStore } from "./store";

/** Events are gathered for this long: a quick run tells hundreds in a second. */
const GATHER_MILLISECONDS = 40;
/** How often a running job is asked for its progress and the seconds that are left. */
const ASK_MILLISECONDS = 1000;

const MINE = "stepgraph.jobs";
const MOST_MINE = 200;

/** Begins to follow; returns what ends it. */
export function follow(): () => void {
  const ends = [beforeRun(advanceSeeds), hearEvents(), askProgress(), rememberMine()];
  socket.connect();
  return () => ends.forEach((end) => end());
}

function hearEvents(): () => void {
  let waiting: Heard[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tell = () => {
    const heard = waiting;
    [waiting, timer] = [[], undefined];
    useStore.getState().hear(heard);
  };
  const stop = socket.listen({
    event(event, preview) {
      if (event.n === 1) performance.mark("first event");
      waiting.push({ event, preview: preview && URL.createObjectURL(preview) });
      timer ??= setTimeout(tell, GATHER_MILLISECONDS);
    },
    refused: (job, words) => useStore.getState().say("error", `Job ${job.slice(0, 8)} cannot be followed: ${words}.`),
    open: () => useStore.getState().setOnline(true),
    close: () => void lookForServer(),
  });
  return () => {
    clearTimeout(timer);
    stop();
  };
}

/** A connection may be refused by a server that wants a token: only one that does not answer at all is away. */
async function lookForServer(): Promise<void> {
  const there = await fetch("/api/v1/health").then(
    (answer) => answer.status < 500,
    () => false,
  );
  if (!socket.isOpen) useStore.getState().setOnline(there);
}

function askProgress(): () => void {
  const timer = setInterval(() => {
    const job = shownRun(useStore.getState())?.job;
    if (job && isActive(job) && socket.isOpen) void progressOf(job.id);
  }, ASK_MILLISECONDS);
  return () => clearInterval(timer);
}

async function progressOf(id: string): Promise<void> {
  const job = await api.job(id).catch(() => null);
  const known = useStore.getState().runs[id]?.job;
  // Its end is told by its events, with all that happened before.
  if (job && known && isActive(known) && isActive(job)) useStore.getState().putJob(job);
}

/** The jobs of this page outlive a reload of it; the last one is shown again. */
function rememberMine(): () => void {
  const found: unknown = JSON.parse(sessionStorage.getItem(MINE) ?? "[]");
  const former = Array.isArray(found) ? found.map(String) : [];
  useStore.setState(({ mine }) => ({ mine: [...new Set([...former, ...mine])] }));
  void showLast(former.at(-1));
  return useStore.subscribe(({ mine }, before) => {
    if (mine !== before.mine) sessionStorage.setItem(MINE, JSON.stringify(mine.slice(-MOST_MINE)));
  });
}

async function showLast(id: string | undefined): Promise<void> {
  if (id === undefined) return;
  const job = await api.job(id).catch(() => null); // the server may have forgotten it
  if (job && useStore.getState().shown[job.workflow] === undefined) useStore.getState().showRun(job.workflow, job);
}
