/** Copies of the files on the way to a level, changed for one request; the user's own files stay out of it. */

import { ASIDE } from "../api/aside";
import type { Asked } from "../api/types";
import { type Edit, applyEdits } from "../document/edit";
import { parse, valueOf, write } from "../document/syntax";
import type { NodeEntry, WorkflowFile } from "../document/workflow";
import { calledWorkflow, outputNames } from "../graph/graph";
import { usesOf } from "../graph/references";
import { type Scope, isBody } from "../graph/scope";

const LONGEST_NAME = 80;

/** Why a request cannot be made, in words for people. */
export class NoRequest extends Error {}

/** What a request is made of. */
export type RunTexts = {
  /** The texts of the files on the way, by name. */
  text: (file: string) => string | undefined;
  /** What the run was asked. */
  asked: Asked;
};

/** Responsibilities: collect edits by level, and write the files that they make. */
export class Copies {
  private readonly edits = new Map<Scope, Edit[]>();

  constructor(private readonly given: RunTexts) {}

  /** An edit of a level; its path goes from the level on. */
  edit(scope: Scope, edit: Edit): void {
    this.edits.set(scope, [...(this.edits.get(scope) ?? []), { ...edit, path: [...scope.body, ...edit.path] }]);
  }

  /** Hands a value of a level up to the file that is run, as all that it gives. */
  raise(scope: Scope, name: string, from: string): void {
    if (scope.owner === null) return this.edit(scope, { op: "set", path: ["outputs"], value: { [name]: { from } } });
    const section = isBody(scope) && scope.owner.entry.type === "loop" ? "collect" : "outputs";
    this.edit(scope, { op: "set", path: [section, name], value: { from } });
    this.nameOnlyOutput(scope.owner);
    this.raise(scope.owner.scope, name, `${scope.owner.node}.${name}`);
  }

  /** Links to a node need not name its only output; those to one that gets a second have to. */
  private nameOnlyOutput({ scope, node, entry }: NonNullable<Scope["owner"]>): void {
    const [only, ...others] = entry.body ? outputNames(entry) : this.outputsOfFile(entry);
    if (only === undefined || others.length > 0) return;
    for (const use of usesOf(scope.level)) {
      if (use.from === node) this.edit(scope, { op: "set", path: use.path, value: { from: `${node}.${only}` } });
    }
  }

  private outputsOfFile(entry: NodeEntry): string[] {
    const text = this.given.text(calledWorkflow(entry));
    return text === undefined ? [] : Object.keys((valueOf(parse(text).root) as WorkflowFile).outputs ?? {});
  }

  /** The request that runs the copies; `deepest` is the innermost level on the way. */
  asked(deepest: Scope): Asked {
    const files = { ...this.given.asked.files };
    let called = "";
    for (let scope: Scope | null = deepest; scope; scope = scope.owner?.scope ?? null) {
      if (isBody(scope)) continue;
      called = this.write(scope, files);
      if (scope.owner) this.edit(scope.owner.scope, { op: "set", path: ["nodes", scope.owner.node, "path"], value: `${called}.json` });
    }
    return { workflow: called, files, inputs: this.given.asked.inputs ?? {} };
  }

  /** Writes the copy of a file, with the edits of all its levels that lie on the way; returns its name. */
  private write(scope: Scope, files: Record<string, string>): string {
    const text = this.given.text(scope.file);
    if (text === undefined) throw new NoRequest(`${scope.file}.json is not there.`);
    const edits = [...this.edits].flatMap(([at, made]) => (fileOf(at) === scope ? made : []));
    const depth = scope.path.length === 0 ? "" : `_${scope.path.length}`;
    const name = `${scope.file.slice(0, LONGEST_NAME)}${ASIDE}${depth}`;
    files[`${name}.json`] = write(applyEdits(parse(text), edits));
    return name;
  }
}

/** The file whose body, or whose body's body, a level is. */
function fileOf(scope: Scope): Scope {
  return isBody(scope) ? fileOf(scope.owner!.scope) : scope;
}
