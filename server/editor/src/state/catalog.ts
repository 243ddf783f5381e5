/** What can be put into a workflow, as the server knows it now. */

import type { StateCreator } from "zustand";
import { api } from "../api/client";
import type { Model, NodeType, Plugin, WorkflowSummary } from "../api/types";
import type { Store } from "./store";

export type CatalogSlice = {
  nodeTypes: readonly NodeType[];
  /** Node types by full name and, where no two have it, by short name. */
  catalog: ReadonlyMap<string, NodeType>;
  workflows: readonly WorkflowSummary[];
  plugins: readonly Plugin[];
  models: readonly Model[];

  loadCatalog(): Promise<void>;
  loadWorkflows(): Promise<void>;
};

export const createCatalog: StateCreator<Store, [], [], CatalogSlice> = (set) => ({
  nodeTypes: [],
  catalog: new Map(),
  workflows: [],
  plugins: [],
  models: [],

  async loadCatalog() {
    const [nodeTypes, plugins, models] = await Promise.all([api.nodes(), api.plugins(), api.models()]);
    set({ nodeTypes, plugins, models, catalog: byName(nodeTypes) });
  },

  async loadWorkflows() {
    set({ workflows: await api.workflows() });
  },
});

function byName(types: readonly NodeType[]): Map<string, NodeType> {
  const made = new Map(types.map((type) => [type.name, type]));
  for (const type of types) if (!made.has(type.short_name)) made.set(type.short_name, type);
  return made;
}
