import { expect, test } from "vitest";
import { apply, begin, undo } from "../../src/document/history";
import { type Box, Drafts, docOf, draftOf } from "../../src/files/drafts";
import { type Doc, isDirty, textOf } from "../../src/state/documents";

const TEXT = '{"stepgraph": 1,   "nodes": {}, "outputs": {}}';
const OTHER = TEXT.replace("1,", "1, ");

class Memory implements Box {
  readonly kept = new Map<string, string>();
  constructor(private readonly room = Infinity) {}
  get length(): number {
    return this.kept.size;
  }
  key = (at: number) => [...this.kept.keys()][at] ?? null;
  getItem = (key: string) => this.kept.get(key) ?? null;
  removeItem = (key: string) => void this.kept.delete(key);
  setItem(key: string, value: string): void {
    if (value.length > this.room) throw new DOMException("full", "QuotaExceededError");
    this.kept.set(key, value);
  }
}

const clean = (): Doc => ({ name: "f", history: begin(TEXT), saved: TEXT, version: '"1"', shipped: true });
const changed = (doc: Doc): Doc => ({
  ...doc,
  history: apply(doc.history, { edits: [{ op: "set", path: ["title"], value: "T" }], values: { seed: 3 }, label: "t" }, 1),
});

test("a draft gives the document again: text to the byte, values, and the saved text one undo away", () => {
  const doc = changed(clean());
  const again = docOf("f", draftOf(doc, 5)!)!;
  expect(textOf(again)).toBe(textOf(doc));
  expect(again.history.now.values).toEqual({ seed: 3 });
  expect([again.saved, again.version, again.shipped]).toEqual([TEXT, '"1"', true]);
  expect(textOf({ ...again, history: undo(again.history) })).toBe(TEXT);
  expect(isDirty(again)).toBe(true);
});

test("a document that was never saved is kept whole", () => {
  const doc: Doc = { name: "new", history: begin(OTHER), saved: null, version: null, shipped: false };
  expect(textOf(docOf("new", draftOf(doc, 1)!)!)).toBe(OTHER);
});

test("a repaired file, whose saved text is no JSON, is kept too", () => {
  const doc: Doc = { name: "f", history: begin(TEXT), saved: "{broken", version: '"1"', shipped: false };
  const again = docOf("f", draftOf(doc, 1)!)!;
  expect([textOf(again), again.saved, isDirty(again)]).toEqual([TEXT, "{broken", true]);
});

test("nothing is kept of what the server has", () => {
  expect(draftOf(clean(), 1)).toBeNull();
  const box = new Memory();
  const drafts = new Drafts(box, "w");
  drafts.keep({ f: changed(clean()) }, 1);
  expect(box.length).toBe(1);
  drafts.keep({ f: clean() }, 2);
  expect(box.length).toBe(0);
  drafts.keep({ f: changed(clean()) }, 3);
  drafts.keep({}, 4);
  expect(box.length).toBe(0);
});

test("values for the next run are kept of a saved file too", () => {
  const doc = clean();
  const typed = { ...doc, history: apply(doc.history, { values: { prompt: "a cat" }, label: "v" }, 1) };
  const draft = draftOf(typed, 2)!;
  expect(draft.text).toBeNull();
  expect(draft.values).toEqual({ prompt: "a cat" });
});

test("drafts of windows that are there stay theirs; those of others are taken over, the later one last", () => {
  const box = new Memory();
  const [first, second] = [changed(clean()), { ...changed(clean()), name: "f" }];
  new Drafts(box, "gone").keep({ f: first }, 10);
  new Drafts(box, "there").keep({ f: second }, 30);
  new Drafts(box, "me").keep({ f: second, "a.b": first }, 20);
  box.setItem("stepgraph.draft.gone.bad", "{");
  box.setItem("other", "x");
  const me = new Drafts(box, "me");
  const isThere = (window: string) => window === "there";
  expect(me.find(isThere).map(([name, draft]) => [name, draft.time])).toEqual([["f", 10], ["f", 20], ["a.b", 20]]);
  me.clear(isThere);
  expect([...box.kept.keys()].sort()).toEqual(["other", "stepgraph.draft.there.f"]);
});

test("a full storage is told to whoever keeps", () => {
  expect(() => new Drafts(new Memory(10), "w").keep({ f: changed(clean()) }, 1)).toThrow("full");
});
