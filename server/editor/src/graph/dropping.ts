/** What becomes of links when what they name goes or gets another name: the file stays as whole as it can be. */

import type { Draft } from "../document/draft";
import type { Path } from "../document/edit";
import type { Json } from "../document/syntax";
import type { Reference, Source } from "../document/workflow";
import { type Place, own, splitReference, substituted, usesOf } from "./references";
import { levelAt, outputNames, ownerOf } from "./graph";

/** Drops all links of a level that a test picks. */
export function dropLinks(draft: Draft, body: Path, dropped: (from: string) => boolean): void {
  const level = levelAt(draft.file, body);
  const places = new Set((level ? usesOf(level) : []).filter((use) => dropped(use.from)).map((use) => use.place));
  for (const one of places) substitute(draft, body, one, (link) => (dropped(link.from) ? undefined : link));
}

/** Puts other things in place of the links of one place of a level. */
export function substitute(
  draft: Draft,
  body: Path,
  one: Place,
  instead: (link: Reference) => Source | undefined,
): void {
  const left = substituted(one.source, instead);
  if (left === undefined) dropPlace(draft, body, one);
  else if (left !== one.source) draft.set([...body, ...one.path], left as Json);
}

/** Drops all links of a level to some nodes. */
export function dropLinksTo(draft: Draft, body: Path, names: ReadonlySet<string>): void {
  dropLinks(draft, body, (from) => names.has(splitReference(from)[0]));
}

/** Takes the source of a place away. */
export function dropPlace(draft: Draft, body: Path, place: Pick<Place, "node" | "path">): void {
  const path = [...body, ...place.path];
  if (place.node === null) return dropEnd(draft, body, String(place.path[0]), String(place.path[1]));
  const section = String(place.path[2]);
  if (isGiven(section, draft.at([...path.slice(0, body.length + 2), "type"]))) return draft.set(path, null);
  if (section === "times") return draft.set(path, 1);
  draft.remove(path);
  if (section === "inputs") draft.tidy(path.slice(0, -1));
}

/** Whether a body is made for what stands there: the port stays, with nothing in it, until it gets another link. */
export function isGiven(section: string, type: Json | undefined): boolean {
  return section === "each" || section === "carry" || (section === "inputs" && (type === "loop" || type === "map"));
}

/** Takes away what a level gives on. A carry is given on as it came, as its loop cannot do without. */
function dropEnd(draft: Draft, body: Path, section: string, name: string): void {
  if (section === "carry" && own(ownerOf(draft.file, body)?.carry, name) !== undefined) {
    return draft.set([...body, "carry", name], { from: `carry.${name}` });
  }
  dropOutput(draft, body, section, name);
}

/** Removes an output of a level, and outside of it the links that came from there. */
export function dropOutput(draft: Draft, body: Path, section: string, name: string): void {
  const owner = ownerOf(draft.file, body);
  const only = owner !== null && outputNames(owner).length === 1;
  draft.remove([...body, section, name]);
  if (section !== "outputs") draft.tidy([...body, section]);
  if (owner === null) return;
  const loop = String(body.at(-2));
  dropLinks(draft, body.slice(0, -3), (from) => from === `${loop}.${name}` || (only && from === loop));
}

/** Removes the entries of nodes in the layout of their level. */
export function dropLayout(draft: Draft, body: Path, ids: ReadonlySet<string>): void {
  const layout = [...body, "layout"];
  const positions = [...layout, "positions"];
  for (const id of draft.names(positions)) if (ids.has(id)) draft.remove([...positions, id]);
  const collapsed = draft.at([...layout, "collapsed"]);
  if (Array.isArray(collapsed) && collapsed.some((id) => ids.has(String(id)))) {
    draft.set(
      [...layout, "collapsed"],
      collapsed.filter((id) => !ids.has(String(id))),
    );
    draft.tidy([...layout, "collapsed"]);
  }
  draft.tidy(positions);
  draft.tidy(layout);
}

/** Lets the links of a level come from elsewhere. */
export function redirect(draft: Draft, body: Path, to: (from: string) => string): void {
  const level = levelAt(draft.file, body);
  for (const use of level ? usesOf(level) : []) {
    const from = to(use.from);
    if (from !== use.from) draft.set([...body, ...use.path, "from"], from);
  }
}
