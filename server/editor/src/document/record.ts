/** What the record in a picture holds, as files to open: its workflow, and the files that this one calls. */

import { type Edit, type Path, applyEdits } from "./edit";
import { freeName, nameOfFile } from "./filenames";
import type { Provenance } from "./png";
import { parse, valueOf, write } from "./syntax";
import type { NodeEntry, WorkflowFile } from "./workflow";

type Files = Pick<Provenance, "workflow" | "files">;

/** A file to open; `kept` where it is the one that is here already. */
export type Opened = { name: string; text: string; kept: boolean };

/**
 * The files that a record needs, the main one first. One that is here to the byte (`known`, by name) is used as it is; any
 * other gets a name that nothing else has, and what calls it calls it by that name.
 */
export function filesOf(record: Files, known: Readonly<Record<string, string>>, taken: ReadonlySet<string>): Opened[] {
  const changed = Object.keys(record.files).filter((file) => known[nameOfFile(file)] !== record.files[file]);
  const names = new Map<string, string>();
  const used = new Set(taken);
  for (const file of withCallers(record, changed)) {
    const name = freeName(nameOfFile(file), used);
    used.add(name);
    names.set(file, name);
  }
  const ordered = new Set([record.workflow, ...names.keys()]);
  return [...ordered].map((file) => {
    const name = names.get(file);
    return { name: name ?? nameOfFile(file), text: recalled(record.files[file]!, file, names), kept: name === undefined };
  });
}

/** Files that have to be other ones here: those that differ and are given new names, and those that call them. */
function withCallers(record: Files, changed: readonly string[]): string[] {
  const found = new Set(changed);
  for (let size = -1; size !== found.size; ) {
    size = found.size;
    for (const [file, text] of Object.entries(record.files)) {
      if (calls(text).some(([, path]) => found.has(resolved(file, path)))) found.add(file);
    }
  }
  return Object.keys(record.files).filter((file) => found.has(file));
}

/** The text of a file whose calls go to other names. */
function recalled(text: string, file: string, names: ReadonlyMap<string, string>): string {
  const edits = calls(text).flatMap(([at, path]): Edit[] => {
    const name = names.get(resolved(file, path));
    return name === undefined || `${name}.json` === path ? [] : [{ op: "set", path: [...at, "path"], value: `${name}.json` }];
  });
  return edits.length > 0 ? write(applyEdits(parse(text), edits)) : text;
}

/** A path as a file of the record names it: from the folder of that file. */
function resolved(file: string, path: string): string {
  const folder = file.includes("/") ? file.slice(0, file.lastIndexOf("/") + 1) : "";
  return new URL(folder + path, "file:///").pathname.slice(1);
}

/** The nodes of a file that call other files, at every depth: their paths in the file, and what they call. */
function calls(text: string): [Path, string][] {
  const file = valueOf(parse(text).root) as WorkflowFile;
  return callsIn(file.nodes ?? {}, ["nodes"]);
}

function callsIn(nodes: Readonly<Record<string, NodeEntry>>, at: Path): [Path, string][] {
  return Object.entries(nodes).flatMap(([name, entry]): [Path, string][] => {
    const here = [...at, name];
    const own: [Path, string][] = entry.type === "workflow" && entry.path ? [[here, entry.path]] : [];
    return [...own, ...callsIn(entry.body?.nodes ?? {}, [...here, "body", "nodes"])];
  });
}
