/** The parts of a workflow file, as far as the editor reads them. Whatever else a file holds stays in it untouched. */

import type { Json } from "./syntax";

export type Reference = { from: string };
export type Source = Json | Reference;
export type Sources = Record<string, Source>;

export type InputDeclaration = {
  type?: string;
  default?: Json;
  description?: string;
  minimum?: number;
  maximum?: number;
  enum?: Json[];
  /** Of a list: the type of its items. */
  items?: string;
};

export type NodeEntry = {
  type: string;
  title?: string;
  note?: string;
  mute?: boolean;
  bypass?: boolean;
  path?: string;
  select?: Source;
  cases?: Sources;
  default?: Source;
  inputs?: Sources;
  each?: Sources;
  times?: Source;
  mode?: string;
  carry?: Sources;
  body?: Body;
};

export type Body = {
  nodes: Record<string, NodeEntry>;
  carry?: Sources;
  collect?: Sources;
  outputs?: Sources;
  layout?: Layout;
};

export type WorkflowFile = {
  stepgraph: number;
  title?: string;
  description?: string;
  inputs?: Record<string, InputDeclaration>;
  nodes: Record<string, NodeEntry>;
  outputs?: Sources;
  layout?: Layout;
};

export type Point = [number, number];
export type Note = { text: string; at: Point; size: Point };
export type Frame = { title: string; at: Point; size: Point; color?: string };

/** Where the editor drew things; the engine takes no notice. */
export type Layout = {
  positions?: Record<string, Point>;
  collapsed?: string[];
  notes?: Record<string, Note>;
  frames?: Record<string, Frame>;
};

export function isReference(source: Source | undefined): source is Reference {
  return source !== null && typeof source === "object" && !Array.isArray(source) && typeof source.from === "string";
}
