/** Which levels are still there after a change. */

import { type Path, nodeAt } from "../document/edit";
import type { Node } from "../document/syntax";
import type { Crumb, Tab } from "../state/documents";

/** The tabs after a document changed: levels that are gone are left. */
export function remaining(tabs: readonly Tab[], doc: string, root: Node): Tab[] {
  return tabs.map((tab) => {
    const gone = tab.crumbs.findIndex((crumb, at) => at > 0 && !isThere(tab.crumbs[at - 1]!, crumb, doc, root));
    return gone < 0 ? tab : { crumbs: tab.crumbs.slice(0, gone) };
  });
}

function isThere(outer: Crumb, crumb: Crumb, doc: string, root: Node): boolean {
  if (outer.doc === doc && !nodeAt(root, nodePathOf(outer, crumb))) return false;
  return crumb.doc !== doc || nodeAt(root, crumb.body) !== undefined;
}

/** Where in its file the node is by which a level was entered. */
function nodePathOf(outer: Crumb, crumb: Crumb): Path {
  return [...outer.body, "nodes", crumb.via.at(-1)!];
}
