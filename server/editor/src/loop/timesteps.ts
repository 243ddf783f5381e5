/** The timesteps that a loop goes through. */

import { useEffect, useState } from "react";
import type { Source } from "../document/workflow";
import { isType } from "../graph/loops";
import { find, originOfSource } from "../graph/origin";
import { type Scope, enterAll } from "../graph/scope";
import type { Call } from "./calls";
import type { Looked } from "./looked";
import type { Instance } from "./steps";
import { keyOf, readValue } from "./value";

const NONE: readonly number[] = [];

/** One number for each step; empty as long as the schedule was not computed, or where the loop goes through something else. */
export function useTimesteps(looked: Looked, instance: Instance, calls: ReadonlyMap<string, Call>): readonly number[] {
  const [values, setValues] = useState(NONE);
  useEffect(() => {
    let wanted = true;
    const { scope, entry } = instance.loop;
    const source = Object.values(entry.each ?? {})[0];
    numbersOf(scope, source, { looked, outer: instance.outer, calls }).then((made) => wanted && setValues(made));
    return () => {
      wanted = false;
    };
  }, [looked, instance, calls]);
  return values;
}

type Given = { looked: Looked; outer: Instance["outer"]; calls: ReadonlyMap<string, Call> };

/** The numbers of a schedule. Of a piece that was not computed itself, they are found in the whole. */
async function numbersOf(scope: Scope, source: Source | undefined, given: Given): Promise<readonly number[]> {
  const { looked, outer, calls } = given;
  const found = await find(originOfSource(scope, source, looked.files), outer, {}, async () => null);
  if (found.kind !== "call") return NONE;
  if (calls.get(found.call)?.there) {
    const read = await readValue(keyOf(found, calls));
    return read.state === "there" ? (Object.values(read.output.tensors ?? {})[0]?.values ?? NONE) : NONE;
  }
  const around = enterAll(looked.root, found.path.split(".").slice(0, -1), looked.files);
  const piece = around?.level.nodes[found.path.split(".").at(-1)!];
  const at = piece?.inputs?.at;
  if (around === null || piece === undefined || !isType(piece, "split_timesteps") || typeof at !== "number") return NONE;
  const whole = await numbersOf(around, piece.inputs?.timesteps, given);
  return found.output === "rest" ? whole.slice(at) : whole.slice(0, at);
}
