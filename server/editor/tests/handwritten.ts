/** A file as a hand might have written it: odd white space, escapes, numbers such as 4.0; it says the same. */

import { type Node, parse, write } from "../src/document/syntax";

/** A generator of numbers from 0 to 1, the same for the same seed. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    const mixed = Math.imul(state ^ (state >>> 13), 0x297a2d39) >>> 0;
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
}

export function handwritten(text: string, seed: number): string {
  const next = random(seed);
  const newline = next() < 0.3 ? "\r\n" : "\n";
  const unit = ["  ", "    ", "\t", " ", ""][Math.floor(next() * 5)]!;
  const space = () => ["", "", " ", "  ", `${newline}${unit}`, `\t`, `${newline}${newline}`][Math.floor(next() * 7)]!;
  const leaf = (raw: string) => {
    if (/^-?\d+$/.test(raw) && next() < 0.5) return next() < 0.5 ? `${raw}.0` : `${raw}e0`;
    return raw.startsWith('"') ? escaped(raw) : raw;
  };
  const escaped = (raw: string) =>
    raw.replace(/\\.|[a-z]/g, (one) =>
      one.length === 1 && next() < 0.03 ? `\\u00${one.charCodeAt(0).toString(16)}` : one,
    );
  const rewrite = (node: Node): Node => {
    if (node.kind === "leaf") return { kind: "leaf", raw: leaf(node.raw) };
    const tidy = next() < 0.5;
    const lead = tidy ? () => `${newline}${unit}` : space;
    if (node.kind === "array") {
      const items = node.items.map((item, at) => ({
        lead: lead(),
        node: rewrite(item.node),
        trail: at < node.items.length - 1 ? space() : "",
      }));
      return { kind: "array", items, tail: space() };
    }
    const entries = node.entries.map((entry, at) => ({
      lead: lead(), key: entry.key, rawKey: escaped(entry.rawKey), colon: `${tidy ? "" : space()}:${space()}`,
      node: rewrite(entry.node), trail: at < node.entries.length - 1 && !tidy ? space() : "",
    })); // prettier-ignore
    return { kind: "object", entries, tail: space() };
  };
  const tree = parse(text);
  return write({ before: next() < 0.2 ? "\ufeff" : space(), root: rewrite(tree.root), after: space() });
}
