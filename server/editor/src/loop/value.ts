/** One value of the run that is looked at: found by where it comes from, then read from the server. */

import { useEffect, useState } from "react";
import { ApiProblem, api } from "../api/client";
import type { ValueView } from "../api/types";
import type { Json } from "../document/syntax";
import type { WorkflowFile } from "../document/workflow";
import { type Chooser, type Found, type Iterations, find, originOf } from "../graph/origin";
import { useStore } from "../state/store";
import type { Call } from "./calls";
import type { Looked } from "./looked";
import { outputKey } from "./steps";

/** What is known of the output of a call. */
export type Read =
  | { state: "reading" }
  | { state: "missing" }
  | { state: "problem"; words: string }
  | { state: "there"; output: ValueView["outputs"][number] };

/** Where a value comes from in given iterations; null while that is looked up. */
export function useFound(
  looked: Looked | null,
  inspected: { path: string; output: string } | null,
  at: Iterations,
  totals: Iterations,
  calls: ReadonlyMap<string, Call>,
): Found | null {
  const [found, setFound] = useState<Found | null>(null);
  useEffect(() => {
    if (looked === null || inspected === null) return setFound(null);
    let wanted = true;
    const origin = originOf(looked.root, inspected.path, inspected.output, looked.files);
    find(origin, at, totals, chooser(looked, calls)).then((made) => wanted && setFound(made));
    return () => {
      wanted = false;
    };
  }, [looked, inspected, at, totals, calls]);
  return found;
}

/** Which case a switch takes, from the value that selects it. */
function chooser(looked: Looked, calls: ReadonlyMap<string, Call>): Chooser {
  return async (select) => {
    const value = select.kind === "call" ? await valueOfCall(select, calls) : given(looked, select);
    return value === undefined || value === null ? null : String(value);
  };
}

async function valueOfCall(found: Found & { kind: "call" }, calls: ReadonlyMap<string, Call>): Promise<Json | undefined> {
  const key = calls.get(found.call)?.there ? keyOf(found, calls) : "";
  if (key === "") return undefined;
  const read = await readValue(key);
  return read.state === "there" ? read.output.value : undefined;
}

/** A value that needs no call: a literal, or an input of the run. */
export function given({ asked, root }: Looked, found: Found): Json | undefined {
  if (found.kind === "literal") return found.value;
  if (found.kind !== "input") return undefined;
  return asked.inputs[found.name] ?? (root.level as WorkflowFile).inputs?.[found.name]?.default;
}

/** The key of a value, with the number of the output before it; "" where it is not known yet. */
export function keyOf(found: Found, calls: ReadonlyMap<string, Call>): string {
  const call = found.kind === "call" ? calls.get(found.call) : undefined;
  return found.kind === "call" && call ? outputKey(useStore.getState().catalog, found.type, found.output, call.key) : "";
}

const known = new Map<string, Promise<Read>>();
const MOST_KNOWN = 300;

/** What the server has under a key. What is there never changes, so it is asked for once. */
export function readValue(key: string): Promise<Read> {
  const there = known.get(key);
  if (there) return there;
  const asked = ask(key);
  known.set(key, asked);
  if (known.size > MOST_KNOWN) known.delete(known.keys().next().value!);
  void asked.then((read) => read.state !== "there" && known.delete(key));
  return asked;
}

async function ask(key: string): Promise<Read> {
  try {
    const output = (await api.value(key)).outputs[0];
    return output ? { state: "there", output } : { state: "missing" };
  } catch (problem) {
    if (!(problem instanceof ApiProblem)) throw problem;
    return problem.status === 404 ? { state: "missing" } : { state: "problem", words: problem.message };
  }
}

/** The value of a key. */
export function useRead(key: string): Read {
  const [read, setRead] = useState<Read>({ state: "reading" });
  useEffect(() => {
    let wanted = true;
    readValue(key).then((made) => wanted && setRead(made));
    return () => {
      wanted = false;
    };
  }, [key]);
  return read;
}
