/** The places of a level where values come from, and the links in them. */

import type { Path } from "../document/edit";
import type { Json } from "../document/syntax";
import {
  type Body,
  type NodeEntry,
  type Reference,
  type Source,
  type Sources,
  type WorkflowFile,
  isReference,
} from "../document/workflow";

/** A place with a source: its path from the level on. `node` is null for the level's own outputs. */
export type Place = { node: string | null; path: Path; source: Source };

/** A link: the path of the object `{"from": ...}`; `start` is what it names first, `rest` what comes after the dot. */
export type Use = { place: Place; path: Path; from: string; start: string; rest: string | undefined };

const NAMED = ["inputs", "each", "carry", "cases"] as const;
const SINGLE = ["select", "times", "default"] as const;
const OUT = ["outputs", "carry", "collect"] as const;

/** All places of a level that hold a source. */
export function placesOf(level: WorkflowFile | Body): Place[] {
  const nodes = entriesOf(level.nodes).flatMap(([name, entry]) => (isObject(entry) ? placesOfNode(name, entry) : []));
  return [...nodes, ...placesOfEnds(level)];
}

function placesOfEnds(level: WorkflowFile | Body): Place[] {
  return OUT.flatMap((section) =>
    entriesOf((level as Partial<Record<string, Sources>>)[section]).map(([name, source]) => ({
      node: null, path: [section, name], source,
    })),
  ); // prettier-ignore
}

/** What was read of entries, under their names. They never change, so it need not be read again. */
const known = new WeakMap<NodeEntry, { name: string; places: readonly Place[]; uses: readonly Use[] }>();

function readEntry(name: string, entry: NodeEntry): { places: readonly Place[]; uses: readonly Use[] } {
  const before = known.get(entry);
  if (before?.name === name) return before;
  const places = readPlaces(name, entry);
  const found = { name, places, uses: places.flatMap(usesIn) };
  known.set(entry, found);
  return found;
}

/** The places of one node; paths go from the level on. */
export function placesOfNode(name: string, entry: NodeEntry): readonly Place[] {
  return readEntry(name, entry).places;
}

function readPlaces(name: string, entry: NodeEntry): Place[] {
  const start = ["nodes", name];
  const named = NAMED.flatMap((section) =>
    entriesOf(entry[section]).map(([port, source]) => ({ node: name, path: [...start, section, port], source })),
  );
  const single = SINGLE.flatMap((section) => {
    const source = entry[section];
    return source === undefined ? [] : [{ node: name, path: [...start, section], source }];
  });
  return [...named, ...single];
}

/** The entries of an object; none of what a file has in its place but is no object. */
export function entriesOf<T>(held: Readonly<Record<string, T>> | undefined): [string, T][] {
  return isObject(held) ? Object.entries(held as Readonly<Record<string, T>>) : [];
}

/** What an object has under a name itself; a name such as "constructor" finds nothing else. */
export function own<T>(held: Readonly<Record<string, T>> | undefined, name: string): T | undefined {
  return isObject(held) && Object.hasOwn(held, name) ? (held as Record<string, T>)[name] : undefined;
}

export function isObject(value: unknown): value is object {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** All links of a level. */
export function usesOf(level: WorkflowFile | Body): Use[] {
  const nodes = entriesOf(level.nodes).flatMap(([name, entry]) => (isObject(entry) ? readEntry(name, entry).uses : []));
  return [...nodes, ...usesOfEnds(level)];
}

/** The links of what a level gives on. */
function usesOfEnds(level: WorkflowFile | Body): Use[] {
  return placesOfEnds(level).flatMap(usesIn);
}

/** The links into one node. */
export function usesOfNode(name: string, entry: NodeEntry): readonly Use[] {
  return readEntry(name, entry).uses;
}

/** The links in a place: the source itself, or items of the list that it is. */
export function usesIn(place: Place): Use[] {
  return linksIn(place.source).map(({ path, from }) => {
    const [start, rest] = splitReference(from);
    return { place, path: [...place.path, ...path], from, start, rest };
  });
}

/** The links in a source, with their paths in it: none, one, or several in a list (lists may hold lists). */
export function linksIn(source: Source | undefined): { path: number[]; from: string }[] {
  if (isReference(source)) return [{ path: [], from: source.from }];
  if (!Array.isArray(source)) return [];
  return source.flatMap((item, at) => linksIn(item).map(({ path, from }) => ({ path: [at, ...path], from })));
}

/** A source with other things in place of its links; undefined where nothing of it is left. The same one if all stay. */
export function substituted(source: Source, instead: (link: Reference) => Source | undefined): Source | undefined {
  if (isReference(source)) return instead(source);
  if (!Array.isArray(source)) return source;
  const items = source.map((item) => substituted(item, instead));
  if (items.every((item, at) => item === source[at])) return source;
  const left = items.filter((item) => item !== undefined) as Json[];
  return left.length > 0 ? left : undefined;
}

/** What a link names first (a node, or `inputs`, `each`, `carry`, `index`), and the rest. */
export function splitReference(from: string): [string, string | undefined] {
  const dot = from.indexOf(".");
  return dot < 0 ? [from, undefined] : [from.slice(0, dot), from.slice(dot + 1)];
}
