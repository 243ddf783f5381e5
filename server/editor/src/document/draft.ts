/** A file while an operation changes it: it gathers edits and shows the file as it stands after them. */

import { type Edit, EditProblem, type Path } from "./edit";
import type { Json } from "./syntax";
import type { WorkflowFile } from "./workflow";

type Container = Json[] | { [key: string]: Json };

/** Operations that build on each other (a link is dropped, so an output goes, so links of another level go) use one. */
export class Draft {
  readonly edits: Edit[] = [];

  constructor(public file: WorkflowFile) {}

  at(path: Path): Json | undefined {
    let found: Json | undefined = this.file as Json;
    for (const step of path) {
      if (found === null || typeof found !== "object" || !Object.hasOwn(found, step)) return undefined;
      found = (found as Record<string | number, Json>)[step];
    }
    return found;
  }

  /** The names of the entries of the object at a path. */
  names(path: Path): string[] {
    const found = this.at(path);
    return found !== null && typeof found === "object" && !Array.isArray(found) ? Object.keys(found) : [];
  }

  set(path: Path, value: Json, before?: string): void {
    this.take({ op: "set", path, value, ...(before !== undefined && { before }) });
  }

  remove(path: Path): void {
    this.take({ op: "remove", path });
  }

  /** Removes an object or list that holds nothing (any more). */
  tidy(path: Path): void {
    const found = this.at(path);
    if (found !== undefined && found !== null && typeof found === "object" && Object.keys(found).length === 0)
      this.remove(path);
  }

  rename(path: Path, name: string): void {
    this.take({ op: "rename", path, name });
  }

  private take(edit: Edit): void {
    this.file = changed(this.file as Json, edit.path, edit) as unknown as WorkflowFile;
    this.edits.push(edit);
  }
}

function changed(value: Json, path: Path, edit: Edit): Json {
  const [step, ...rest] = path;
  if (step === undefined) {
    if (edit.op === "set") return edit.value;
    throw new EditProblem("the whole file cannot be removed or renamed");
  }
  const held = (value ?? {}) as Container;
  if (Array.isArray(held)) return held.with(Number(step), changed(held[Number(step)]!, rest, edit));
  if (rest.length === 0 && edit.op === "rename") {
    return Object.fromEntries(Object.entries(held).map(([key, item]) => [key === step ? edit.name : key, item]));
  }
  if (rest.length > 0 || edit.op === "set") {
    return { ...held, [step]: changed(Object.hasOwn(held, step) ? held[step]! : {}, rest, edit) };
  }
  const { [step]: _, ...others } = held;
  return others;
}
