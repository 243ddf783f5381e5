/** The state of the page: one store, of slices that each know one thing. */

import { create } from "zustand";
import { type CatalogSlice, createCatalog } from "./catalog";
import { type CheckingSlice, createChecking } from "./checking";
import { type DocumentsSlice, createDocuments } from "./documents";
import { type InterfaceSlice, createInterface } from "./interface";
import { type RunsSlice, createRuns } from "./runs";

export type Store = DocumentsSlice & CatalogSlice & CheckingSlice & RunsSlice & InterfaceSlice;

export const useStore = create<Store>()((...given) => ({
  ...createDocuments(...given),
  ...createCatalog(...given),
  ...createChecking(...given),
  ...createRuns(...given),
  ...createInterface(...given),
}));
