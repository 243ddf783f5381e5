/** Where a painted mask belongs, and the picture that it is painted on. */

import type { Json } from "../document/syntax";
import { addNode } from "../graph/edits";
import { type GraphNode, INPUTS, type Port, levelAt } from "../graph/graph";
import { type Crumb, fileOf } from "../state/documents";
import { useStore } from "../state/store";
import type { Purpose } from "./control";
import { maskInput, pictureIn } from "./purpose";
import { type StoredFile, forFile, forRun } from "./stored";
import { writePort } from "./writing";

/** What the mask dialog is opened for. */
export type MaskAbout = {
  title: string;
  /** Names the picture beneath and the mask to begin with, as values of ports do. */
  picture?: Json;
  mask?: Json;
  onDone(mask: StoredFile): void;
};

/** Opens the mask painter for a field: of a mask, or of the picture that one is to be painted on. */
export function openMask(crumb: Crumb, node: GraphNode, port: Port, purpose: Purpose): void {
  const { docs, catalog, openDialog } = useStore.getState();
  const doc = docs[crumb.doc];
  if (doc === undefined) return;
  const file = fileOf(doc);
  const { values } = doc.history.now;
  const own = node.id === INPUTS ? (values[port.name] ?? port.default) : (port.source as Json | undefined);
  const about: MaskAbout =
    purpose === "mask"
      ? {
          title: `Paint ${port.name}`,
          picture: pictureIn(file, values, catalog),
          mask: own,
          onDone: (mask) => writeMask(crumb, node, port, mask),
        }
      : { title: `Paint a mask on ${port.name}`, picture: own, ...maskFor(crumb, node) };
  openDialog("mask", about);
}

function writeMask(crumb: Crumb, node: GraphNode, port: Port, mask: StoredFile): void {
  writePort(crumb, node, port, node.id === INPUTS ? forRun(mask) : forFile(mask));
}

/** A mask on a picture: for the workflow's input that takes one, else for a new node. */
function maskFor(crumb: Crumb, node: GraphNode): Pick<MaskAbout, "mask" | "onDone"> {
  const { docs, catalog } = useStore.getState();
  const doc = docs[crumb.doc]!;
  const name = maskInput(fileOf(doc), catalog);
  if (name === undefined) return { onDone: (mask) => addMask(crumb, node, mask) };
  const mask = doc.history.now.values[name] ?? fileOf(doc).inputs?.[name]?.default;
  const set = (made: StoredFile) =>
    useStore.getState().change({ values: { [name]: forRun(made) }, label: `Set ${name}` }, crumb.doc);
  return { mask, onDone: set };
}

/** A new node that reads the mask, beside the one that reads the picture. */
function addMask(crumb: Crumb, node: GraphNode, mask: StoredFile): void {
  const { docs, change, select, say } = useStore.getState();
  const file = fileOf(docs[crumb.doc]!);
  const [x, y] = levelAt(file, crumb.body)?.layout?.positions?.[node.id] ?? [0, 0];
  const made = addNode(file, crumb.body, "load_mask", [x, y + 200], { inputs: { path: forFile(mask) } });
  change(made.change, crumb.doc);
  select([made.name]);
  say("success", `The mask is in the new node ${made.name}.`);
}
