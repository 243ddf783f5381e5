/** Nodes as a JSON text, to be put into another place, file or window. */

import { Draft } from "../document/draft";
import { EditProblem, type Path } from "../document/edit";
import type { Change } from "../document/history";
import { type Json, type SyntaxProblem, nodeOf, parse, valueOf, writeNode } from "../document/syntax";
import type { NodeEntry, Point, WorkflowFile } from "../document/workflow";
import { substitute } from "./dropping";
import { type Positions, place } from "./edits";
import { levelAt } from "./graph";
import { newName } from "./names";
import { isObject, own, placesOfNode, splitReference } from "./references";

type Piece = { stepgraph_nodes: number; nodes: Record<string, NodeEntry>; positions?: Record<string, Point> };

/** Nodes of a level as a text. `shown`: where they stand, for levels without a layout in the file. */
export function copy(file: WorkflowFile, body: Path, ids: Iterable<string>, shown: Positions = {}): string {
  const level = levelAt(file, body);
  const chosen = new Set(ids);
  const names = Object.keys(level?.nodes ?? {}).filter((name) => chosen.has(name));
  const standing = { ...shown, ...level?.layout?.positions };
  const piece = {
    stepgraph_nodes: 1,
    nodes: Object.fromEntries(names.map((name) => [name, level!.nodes[name]])),
    positions: Object.fromEntries(names.flatMap((name) => (own(standing, name) ? [[name, standing[name]]] : []))),
  };
  return writeNode(nodeOf(piece as unknown as Json));
}

/** Whether a text is one that `copy` made. */
export function isPiece(text: string): boolean {
  return text.includes('"stepgraph_nodes"') && pieceOf(text) !== null;
}

function pieceOf(text: string): Piece | null {
  try {
    const found = valueOf(parse(text).root) as unknown as Partial<Piece> | null;
    const nodes = found !== null && typeof found === "object" ? found.nodes : undefined;
    const sound =
      isObject(nodes) &&
      Object.values(nodes).every((entry) => isObject(entry) && typeof (entry as Partial<NodeEntry>).type === "string");
    return sound && found?.stepgraph_nodes === 1 ? (found as Piece) : null;
  } catch (problem) {
    if ((problem as SyntaxProblem).offset === undefined) throw problem;
    return null;
  }
}

/**
 * Puts copied nodes into a level, under names that are free there. Links among them go along; links to others stay where
 * the level has one of that name. `at` is where their upper left corner comes to stand.
 */
export function paste(
  file: WorkflowFile,
  body: Path,
  text: string,
  at: Point,
  all: Positions = {},
): { change: Change; names: string[] } {
  const piece = pieceOf(text);
  if (piece === null) throw new EditProblem("The clipboard holds no nodes. Copy nodes of a workflow first.");
  const draft = new Draft(file);
  const renamed = new Map<string, string>();
  for (const [name, entry] of Object.entries(piece.nodes)) {
    const level = levelAt(draft.file, body)!;
    const free = newName(level, own(level.nodes, name) ? name.replace(/_\d+$/, "") : name);
    draft.set([...body, "nodes", free], entry as unknown as Json);
    renamed.set(name, free);
  }
  const names = [...renamed.values()];
  for (const name of names) relink(draft, body, file, name, renamed);
  place(draft, body, { ...all, ...placesAt(piece, renamed, at) });
  return {
    change: { edits: draft.edits, label: names.length === 1 ? `Paste ${names[0]}` : `Paste ${names.length} nodes` },
    names,
  };
}

function relink(
  draft: Draft,
  body: Path,
  before: WorkflowFile,
  name: string,
  renamed: ReadonlyMap<string, string>,
): void {
  const known = new Set(namesIn(before, body));
  const entry = levelAt(draft.file, body)!.nodes[name]!;
  for (const one of placesOfNode(name, entry)) {
    substitute(draft, body, one, (link) => {
      const [start, output] = splitReference(link.from);
      const inside = renamed.get(start);
      if (inside === start) return link;
      if (inside !== undefined) return { from: output === undefined ? inside : `${inside}.${output}` };
      return known.has(start) || known.has(link.from) ? link : undefined;
    });
  }
}

/** What links of a level may name: its nodes, and what it is given. */
function namesIn(file: WorkflowFile, body: Path): string[] {
  const draft = new Draft(file);
  const owner = body.slice(0, -1);
  const given = (body.length === 0 ? ["inputs"] : ["inputs", "each", "carry"]).flatMap((section) =>
    draft.names([...owner, section]).map((name) => `${section}.${name}`),
  );
  return [...draft.names([...body, "nodes"]), ...given, ...(body.length > 0 ? ["index"] : [])];
}

/** Nodes that were copied without a place stand one beside the other. */
function placesAt(piece: Piece, renamed: ReadonlyMap<string, string>, [x, y]: Point): Positions {
  const entries = [...renamed].map(
    ([name, free], index) => [free, pointOf(own(piece.positions, name)) ?? ([index * 280, 0] as Point)] as const,
  );
  const left = Math.min(...entries.map(([, at]) => at[0]));
  const top = Math.min(...entries.map(([, at]) => at[1]));
  return Object.fromEntries(entries.map(([free, at]) => [free, [x + at[0] - left, y + at[1] - top] as Point]));
}

function pointOf(value: unknown): Point | null {
  return Array.isArray(value) && value.length === 2 && value.every(Number.isFinite) ? (value as Point) : null;
}
