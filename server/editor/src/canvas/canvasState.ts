/** What the canvas shows besides the document: its palette and menus, the link that is being drawn, what is unfolded. */

import type { ReactFlowInstance } from "@xyflow/react";
import { create } from "zustand";
import type { Point } from "../document/workflow";
import type { Port } from "../graph/graph";
import type { Level } from "../state/level";
import type { FlowLink, FlowNode } from "./flow";

/** One end of a link that is being drawn: a socket with its type. */
export type LinkEnd = { node: string; port: string; type: string; side: "input" | "output" };

/** The search palette; `link` is the socket that what is chosen shall be linked with. */
export type PaletteRequest = { at: Point | null; drop: Point | null; link: LinkEnd | null };

/** A menu at a place of the screen: entries with the commands they perform, by id. */
export type MenuRequest = { at: Point; about: "node" | "pane" | "link"; link?: string; port?: { node: string; port: Port } };

/** A question for a name. A refusal is shown at the field, and the question stays. */
export type NameRequest = { title: string; label: string; value: string; optional?: boolean; submit(name: string): void | Promise<void> };

/** A question with a list to choose from. */
export type ChoiceRequest = { title: string; options: Choice[] };
export type Choice = { id: string; label: string; detail: string; color?: string; choose(): void };

type CanvasState = {
  flow: ReactFlowInstance<FlowNode, FlowLink> | null;
  level: Level | null;
  palette: PaletteRequest | null;
  menu: MenuRequest | null;
  /** Where on the canvas the menu was opened. */
  menuDrop: Point | null;
  name: NameRequest | null;
  choice: ChoiceRequest | null;
  drawn: LinkEnd | null;
  /** Links that are selected, by id. */
  links: readonly string[];
  /** Nodes of which all ports are shown, by path. */
  unfolded: ReadonlySet<string>;
  /** What is read out by screen readers. */
  told: string;
};

export const useCanvas = create<CanvasState>()(() => ({
  flow: null, level: null, palette: null, menu: null, menuDrop: null, name: null, choice: null, drawn: null, links: [], unfolded: new Set(), told: "",
})); // prettier-ignore

export const canvas = {
  get: useCanvas.getState,
  set: useCanvas.setState,
};

export function tell(told: string): void {
  useCanvas.setState({ told });
}

export function toggleUnfolded(path: string): void {
  const unfolded = new Set(useCanvas.getState().unfolded);
  if (!unfolded.delete(path)) unfolded.add(path);
  useCanvas.setState({ unfolded });
}

/** The level that is shown; commands are not enabled without one. */
export function shownLevel(): Level {
  const { level } = useCanvas.getState();
  if (level === null) throw new Error("No workflow is open: open one first.");
  return level;
}
