/** What differs between two workflows, entry by entry. Where things are drawn makes no difference. */

import { type Path, same } from "./edit";
import { holdsEntries, inLayout, nodeOfPath } from "./parts";
import type { Json } from "./syntax";
import type { WorkflowFile } from "./workflow";

/** `node` is the path of the node that the entry is of (`denoise.loop.step`), empty for what is the file's own. */
export type Difference = {
  node: string;
  path: Path;
  kind: "added" | "removed" | "changed";
  before: Json | undefined;
  after: Json | undefined;
};

export function diffWorkflows(a: WorkflowFile, b: WorkflowFile): Difference[] {
  return compared(a as Json, b as Json, []);
}

function compared(before: Json | undefined, after: Json | undefined, path: Path): Difference[] {
  if (inLayout(path)) return [];
  if (before !== undefined && after !== undefined && same(before, after)) return [];
  if (isObject(before) && isObject(after) && holdsEntries(path)) {
    const names = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...names].flatMap((name) => compared(entry(before, name), entry(after, name), [...path, name]));
  }
  const kind = before === undefined ? "added" : after === undefined ? "removed" : "changed";
  return [{ node: nodeOfPath(path), path, kind, before, after }];
}

function isObject(value: Json | undefined): value is { [key: string]: Json } {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function entry(value: { [key: string]: Json }, name: string): Json | undefined {
  return Object.hasOwn(value, name) ? value[name] : undefined;
}
