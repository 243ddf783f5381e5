/** Ways to a node by its path from the file that is run. */

import { calledWorkflow, levelAt } from "../graph/graph";
import { currentCrumb, currentTab, fileOf } from "./documents";
import { useStore } from "./store";

/** Enters the level of a path from the file that is run, as far as it is there; whether all of it was. */
export async function enter(via: readonly string[]): Promise<boolean> {
  const { leaveTo } = useStore.getState();
  const { crumbs } = currentTab(useStore.getState());
  const depth = crumbs.findLastIndex((crumb) => crumb.via.every((name, at) => via[at] === name));
  if (depth < 0) return false;
  if (depth < crumbs.length - 1) leaveTo(depth);
  for (const name of via.slice(crumbs[depth]!.via.length)) if (!(await enterNode(name))) return false;
  return true;
}

async function enterNode(name: string): Promise<boolean> {
  const state = useStore.getState();
  const crumb = currentCrumb(state);
  const doc = state.docs[crumb?.doc ?? ""];
  if (crumb === undefined || doc === undefined) return false;
  const entry = levelAt(fileOf(doc), crumb.body)?.nodes?.[name];
  if (entry?.body !== undefined) state.enterBody(name);
  else if (entry?.type === "workflow") await state.enterFile(name, calledWorkflow(entry));
  else return false;
  return true;
}

/** Shows a node by its path from the file that is run (`denoise.loop.step`): its level, with the node selected. */
export async function showNode(path: string): Promise<void> {
  const names = path.split(".");
  const { say, select } = useStore.getState();
  if (!(await enter(names.slice(0, -1)))) return say("error", `There is no node “${path}” any more.`);
  select([names.at(-1)!]);
}
