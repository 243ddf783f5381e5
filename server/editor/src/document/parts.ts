/** Which parts of a workflow file hold entries that stand for themselves, so that two people may change one each. */

import type { Path } from "./edit";

const OF_LEVEL = new Set(["nodes", "inputs", "outputs", "carry", "collect", "layout"]);
const OF_NODE = new Set(["inputs", "each", "carry", "cases", "body"]);
const OF_LAYOUT = new Set(["positions", "notes", "frames"]);

/** Whether the object at a path is one of named entries; any other is one value. */
export function holdsEntries(path: Path): boolean {
  const rest = path.slice(levelLength(path));
  const [first, , third] = rest;
  if (rest.length === 0) return true;
  if (rest.length === 1) return OF_LEVEL.has(String(first));
  if (rest.length === 2)
    return first === "nodes" || first === "inputs" || (first === "layout" && OF_LAYOUT.has(String(rest[1])));
  return rest.length === 3 && first === "nodes" && OF_NODE.has(String(third));
}

/** How much of a path leads to the level that it is in: the file, or the body of a loop or map. */
function levelLength(path: Path): number {
  let length = 0;
  while (path[length] === "nodes" && path[length + 2] === "body") length += 3;
  return length;
}

/** Whether the path is that of a node or of an input of the file: one thing, that somebody made. */
export function isThing(path: Path): boolean {
  const rest = path.slice(levelLength(path));
  return rest.length === 2 && (rest[0] === "nodes" || rest[0] === "inputs");
}

/** Whether a path leads into the layout of a level. */
export function inLayout(path: Path): boolean {
  return path[levelLength(path)] === "layout";
}

/** The node that a path leads into, as events and problems name it: `denoise.loop.step`; empty for the file. */
export function nodeOfPath(path: Path): string {
  const names: string[] = [];
  for (let at = 0; path[at] === "nodes" && path.length > at + 1; at += 3) {
    names.push(String(path[at + 1]));
    if (path[at + 2] !== "body") break;
  }
  return names.join(".");
}
