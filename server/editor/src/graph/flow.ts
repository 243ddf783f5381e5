/** What depends on what within a level. */

import type { NodeEntry } from "../document/workflow";
import { linksIn, placesOfNode, splitReference } from "./references";

export type Nodes = Readonly<Record<string, NodeEntry>>;

/** The links that a node takes its values from. */
export function linksOfNode(entry: NodeEntry): string[] {
  return placesOfNode("", entry).flatMap((place) => linksIn(place.source).map((link) => link.from));
}

/** The node that a link names; `inputs`, `each`, `carry` and `index` are none. */
export function sourceNode(from: string): string {
  return splitReference(from)[0];
}

/** The nodes that depend on a link for which `begins` holds, directly or through others. */
export function dependents(nodes: Nodes, begins: (from: string) => boolean): Set<string> {
  const found = new Set<string>();
  for (let before = -1; before !== found.size; ) {
    before = found.size;
    for (const [name, entry] of Object.entries(nodes)) {
      if (linksOfNode(entry).some((from) => begins(from) || found.has(sourceNode(from)))) found.add(name);
    }
  }
  return found;
}

/** The nodes that links need, directly or through others. */
export function needed(nodes: Nodes, links: readonly string[]): Set<string> {
  const found = new Set<string>();
  const open = links.map(sourceNode);
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const entry = nodes[name];
    if (entry === undefined || found.has(name)) continue;
    found.add(name);
    open.push(...linksOfNode(entry).map(sourceNode));
  }
  return found;
}
