/** What jobs were given. */

import type { Job, WorkflowInput } from "../api/types";
import { same } from "../document/edit";
import type { Json } from "../document/syntax";

/** Inputs of a job that are not what its workflow has of itself. */
export function ownInputs(job: Job, declared: Readonly<Record<string, WorkflowInput>> | undefined): [string, Json][] {
  return Object.entries(job.inputs).filter(
    ([name, value]) => !(declared && name in declared && same(declared[name]!.default, value)),
  );
}

/** The seed of a job, given or the workflow's own. */
export function seedOf(job: Job, declared: Readonly<Record<string, WorkflowInput>> | undefined): Json | undefined {
  return job.inputs.seed ?? declared?.seed?.default;
}

export function shortValue(value: Json | undefined): string {
  if (value === undefined) return "–";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Inputs whose values differ, by name; one that a side does not have is undefined there. */
export function inputDifferences(
  a: Readonly<Record<string, Json>>,
  b: Readonly<Record<string, Json>>,
): { name: string; before: Json | undefined; after: Json | undefined }[] {
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  const differs = (name: string) => !(name in a && name in b && same(a[name]!, b[name]!));
  return names.filter(differs).map((name) => ({ name, before: a[name], after: b[name] }));
}
