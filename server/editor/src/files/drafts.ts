/**
 * Unsaved work, kept in the browser so that it outlives a reload, a crash of the page and one of the browser.
 *
 * Each window of the editor keeps its own drafts. Those of windows that are gone are taken over by the next one that starts.
 */

import { begin, replaceText, type Values } from "../document/history";
import { type Doc, isDirty, textOf } from "../state/documents";
import { whyUnreadable } from "./reconcile";

const PREFIX = "stepgraph.draft.";

/** `text` is null where only values for the next run were entered. */
export type Draft = {
  text: string | null;
  saved: string | null;
  version: string | null;
  shipped: boolean;
  values: Values;
  time: number;
};

export type Box = Pick<Storage, "getItem" | "setItem" | "removeItem" | "key" | "length">;

/** What has to be kept of a document; null where there is nothing that the server does not have. */
export function draftOf(doc: Doc, time: number): Draft | null {
  const dirty = isDirty(doc);
  const values = doc.history.now.values;
  if (!dirty && Object.keys(values).length === 0) return null;
  const { saved, version, shipped } = doc;
  return { text: dirty ? textOf(doc) : null, saved: dirty ? saved : null, version, shipped, values, time };
}

/** The document of a draft that holds a text. One step of undo gives the version that it was made from. */
export function docOf(name: string, draft: Draft): Doc | null {
  const { text, saved, version, shipped, values, time } = draft;
  if (text === null) return null;
  const before = saved === null || whyUnreadable(saved) ? null : begin(saved, values);
  const history = before === null ? begin(text, values) : replaceText(before, text, "Unsaved changes", time);
  return { name, history, saved, version, shipped };
}

const keyOf = (window: string, name: string) => `${PREFIX}${window}.${name}`;

/** The drafts of one window. */
export class Drafts {
  private readonly known = new Map<string, Doc>();

  constructor(
    private readonly box: Box,
    private readonly window: string,
  ) {}

  /** Keeps what is unsaved now, and forgets what no longer is. Throws where the browser's storage is full. */
  keep(docs: Readonly<Record<string, Doc>>, time: number): void {
    for (const name of this.known.keys()) if (docs[name] === undefined) this.forget(name);
    for (const [name, doc] of Object.entries(docs)) {
      if (this.known.get(name) === doc) continue;
      const draft = draftOf(doc, time);
      if (draft === null) this.forget(name);
      else this.box.setItem(keyOf(this.window, name), JSON.stringify(draft));
      this.known.set(name, doc);
    }
  }

  /** The drafts that this window left, and those of windows that are gone; of two with one name the later one comes last. */
  find(isThere: (window: string) => boolean): [string, Draft][] {
    const found = keys(this.box).flatMap((key): [string, Draft][] => {
      const [window, name] = split(key);
      if (window !== this.window && isThere(window)) return [];
      const draft = read(this.box.getItem(key));
      return draft === null ? [] : [[name, draft]];
    });
    return found.sort(([, one], [, other]) => one.time - other.time);
  }

  /** Removes what windows that are gone left, once it is taken over. */
  clear(isThere: (window: string) => boolean): void {
    for (const key of keys(this.box)) {
      const [window] = split(key);
      if (window === this.window || !isThere(window)) this.box.removeItem(key);
    }
  }

  private forget(name: string): void {
    this.box.removeItem(keyOf(this.window, name));
    this.known.delete(name);
  }
}

function keys(box: Box): string[] {
  const all = Array.from({ length: box.length }, (_, at) => box.key(at) ?? "");
  return all.filter((key) => key.startsWith(PREFIX));
}

function split(key: string): [string, string] {
  const rest = key.slice(PREFIX.length);
  const dot = rest.indexOf(".");
  return [rest.slice(0, dot), rest.slice(dot + 1)];
}

function read(text: string | null): Draft | null {
  try {
    const draft = JSON.parse(text ?? "null") as Partial<Draft> | null;
    return draft !== null && typeof draft === "object" && "text" in draft && "saved" in draft ? (draft as Draft) : null;
  } catch {
    return null; // written by something else under our name
  }
}
