/** Computing one value alone, where it is not in the cache: a job that gives nothing else and is nobody's run. */

import { useEffect, useRef, useState } from "react";
import { ApiProblem, api } from "../api/client";
import type { Asked } from "../api/types";
import { INPUTS } from "../graph/graph";
import type { Found } from "../graph/origin";
import { enterAll } from "../graph/scope";
import type { Inspected } from "../state/interface";
import { useCallStore, withEvents } from "./calls";
import { Copies } from "./copies";
import type { Looked } from "./looked";
import { follow } from "./stream";

const VALUE = "value__";

/** The request; null where the value is no output of a node. */
export function requestFor(looked: Looked, inspected: Inspected, found: Found): Asked | null {
  const { path, output } = found.kind === "call" ? found : inspected;
  const parts = path.split(".");
  const node = parts.at(-1)!;
  const scope = enterAll(looked.root, parts.slice(0, -1), looked.files);
  if (node === INPUTS || scope === null) return null;
  const copies = new Copies(looked);
  copies.raise(scope, VALUE, output === "" || output === "output" ? node : `${node}.${output}`);
  return copies.asked(scope);
}

export type Alone = { working: boolean; words: string; start(asked: Asked): void };

/** Runs such a request; what it computed is there for all who look. The job ends with the panel. */
export function useAlone(): Alone {
  const [working, setWorking] = useState(false);
  const [words, setWords] = useState("");
  const stop = useRef<() => void>(() => undefined);
  useEffect(() => () => stop.current(), []);
  const ended = (said: string) => {
    setWorking(false);
    setWords(said);
  };
  const start = (asked: Asked) => {
    setWorking(true);
    setWords("");
    run(asked, ended).then(
      (made) => {
        stop.current = made;
      },
      (problem: unknown) => ended(problem instanceof ApiProblem || problem instanceof Error ? problem.message : String(problem)),
    );
  };
  return { working, words, start };
}

async function run(asked: Asked, ended: (words: string) => void): Promise<() => void> {
  const job = await api.run(asked);
  let open = true;
  const leave = follow(
    job.id,
    (told) => useCallStore.setState(({ calls }) => ({ calls: withEvents(calls, [told]) })),
    (state, words) => {
      open = false;
      ended(state === "succeeded" ? "" : `It could not be computed. ${words}`);
    },
  );
  return () => {
    leave();
    if (open) api.cancel(job.id).catch(() => undefined); // it ended by itself, or the server is away
  };
}
