/** The decoded pictures of a loop's steps: asked for by a job of low priority, which is nobody's run. */

import { useEffect, useState } from "react";
import { ApiProblem, api } from "../api/client";
import type { Loop } from "../graph/loops";
import { staticPath } from "../state/runs";
import { NoRequest } from "./copies";
import { type Decoding, type Shown, decodingOf } from "./decoding";
import type { Looked } from "./looked";
import { follow } from "./stream";

const PRIORITY = -50;
/** So long values have to stay as they are before their steps are decoded. */
const PAUSE_MILLISECONDS = 400;

export type Decoded = {
  /** The path of the calls that decode. */
  path: string;
  /** The key of each picture that is there, by the full name of its call. */
  pictures: ReadonlyMap<string, string>;
  working: boolean;
  /** Why there are no decoded pictures, in words; empty where there are, or will be. */
  words: string;
};

const NOTHING: Decoded = { path: "", pictures: new Map(), working: false, words: "" };

/**
 * Decodes the steps of a loop.
 *
 * Args:
 *     steps: How many steps there are; 0 for none yet.
 *     all: Whether these are all steps of the loop.
 */
export function useDecoded(looked: Looked | null, loop: Loop | undefined, shown: Shown, steps: number, all: boolean): Decoded {
  const [decoded, setDecoded] = useState(NOTHING);
  const wanted = looked !== null && loop !== undefined && !looked.active && steps > 0;
  const about = wanted ? `${looked.signature} ${loop.path} ${shown} ${all ? "all" : steps}` : "";
  useEffect(() => {
    setDecoded(NOTHING);
    if (about === "" || looked === null || loop === undefined) return;
    const change = (made: Partial<Decoded>) => setDecoded((before) => ({ ...before, ...made }));
    try {
      const given = { loop, shown, done: all ? null : steps, text: looked.text, asked: looked.asked };
      return decode(decodingOf(given), change, (call, key) => setDecoded((before) => ({ ...before, pictures: new Map(before.pictures).set(call, key) })));
    } catch (problem) {
      if (!(problem instanceof NoRequest)) throw problem;
      change({ words: problem.message });
    }
  }, [about]);
  return decoded;
}

type Change = (made: Partial<Decoded>) => void;
type Put = (call: string, key: string) => void;

/** Begins to decode; returns what ends it. */
function decode({ asked, path }: Decoding, change: Change, put: Put): () => void {
  let ended = false;
  let stop: () => void = () => undefined;
  const begin = async () => {
    change({ path, working: true });
    const { keys } = await api.keys({ ...asked, nodes: [path] });
    if (ended) return;
    const there = Object.entries(keys).filter(([, one]) => one.cached);
    change({ pictures: new Map(there.map(([call, { key }]) => [call, key])) });
    if (there.length > 0 && there.length === Object.keys(keys).length) return change({ working: false });
    stop = await run({ asked, path }, change, put);
    if (ended) stop();
  };
  const timer = setTimeout(() => {
    begin().catch((problem: unknown) => !ended && change({ working: false, words: wordsOf(problem) }));
  }, PAUSE_MILLISECONDS);
  return () => {
    ended = true;
    clearTimeout(timer);
    stop();
  };
}

async function run({ asked, path }: Decoding, change: Change, put: Put): Promise<() => void> {
  const job = await api.run({ ...asked, priority: PRIORITY });
  let open = true;
  const leave = follow(
    job.id,
    ({ event, node, key }) => (event === "finished" || event === "cached") && staticPath(node) === path && put(node, key),
    (state, words) => {
      open = false;
      change({ working: false, words: state === "succeeded" ? "" : `The steps could not be decoded. ${words}` });
    },
  );
  return () => {
    leave();
    if (open) api.cancel(job.id).catch(() => undefined); // it ended by itself, or the server is away
  };
}

function wordsOf(problem: unknown): string {
  return `The steps could not be decoded. ${problem instanceof ApiProblem || problem instanceof Error ? problem.message : String(problem)}`;
}
