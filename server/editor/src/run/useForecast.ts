import { useEffect, useState } from "react";
import { api } from "../api/client";
import { askedRun } from "../state/checking";
import { rootDoc } from "../state/documents";
import { isActive, shownRun } from "../state/runs";
import { useStore } from "../state/store";

/** How long somebody looks at the button before the server is asked: the answer is some work. */
const PAUSE_MILLISECONDS = 300;

type Explained = Awaited<ReturnType<typeof api.explain>>["nodes"];

/** What the next run would do, in a few words; empty while nobody wants to know, or a run goes on. */
export function useForecast(wanted: boolean): string {
  const now = useStore((state) => rootDoc(state)?.history.now);
  const docs = useStore((state) => state.docs);
  const fine = useStore((state) => state.checks[rootDoc(state)?.name ?? ""]?.ok ?? false);
  const busy = useStore((state) => Object.values(state.runs).some(({ job }) => isActive(job)));
  const last = useStore((state) => shownRun(state)?.job.state);
  const [words, setWords] = useState("");
  useEffect(() => {
    setWords("");
    if (now === undefined || !wanted || !fine || busy) return;
    let left = false;
    const ask = async () => {
      const asked = askedRun(useStore.getState());
      const answer = asked && (await api.explain(asked).catch(() => null)); // the checker tells what is wrong
      if (answer && !left) setWords(forecastOf(answer.nodes));
    };
    const timer = setTimeout(() => void ask(), PAUSE_MILLISECONDS);
    return () => {
      left = true;
      clearTimeout(timer);
    };
  }, [now, docs, wanted, fine, busy, last]);
  return words;
}

export function forecastOf(nodes: Explained): string {
  const runs = nodes.filter((node) => node.state !== "cached").length;
  return runs === 0 ? "all cached" : `${runs} of ${nodes.length} to run`;
}
