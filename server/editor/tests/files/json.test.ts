import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse } from "../../src/document/syntax";
import { placeOf, placeOfLine, places } from "../../src/files/places";
import { tokenAt, tokens } from "../../src/files/tokens";

const folder = new URL("../../../../workflows/", import.meta.url);
const shipped = readdirSync(folder).filter((name) => name.endsWith(".json"));
const read = (name: string) => readFileSync(new URL(name, folder), "utf8");

describe("tokens", () => {
  test.each(shipped)("of %s are its lines again, and nothing in them is wrong", (name) => {
    for (const line of read(name).split("\n")) {
      const pieces = tokens(line);
      expect(pieces.map((piece) => piece.text).join("")).toBe(line);
      expect(pieces.filter((piece) => piece.kind === "wrong")).toEqual([]);
      for (const piece of pieces) expect(line.slice(piece.column - 1)).toContain(piece.text);
    }
  });
  test("of any text lose nothing", () => {
    fc.assert(
      fc.property(fc.string().map((text) => text.replace(/[\n\u2028\u2029]/g, " ")), (line) => {
        expect(tokens(line).map((piece) => piece.text).join("")).toBe(line);
      }),
    );
  });
  test("are named by what they are", () => {
    const kinds = tokens('{"a": -1.5e3, "b" : ["c:", true, nix]}').map((piece) => [piece.text, piece.kind]);
    expect(kinds).toContainEqual(['"a"', "key"]);
    expect(kinds).toContainEqual(['"b"', "key"]);
    expect(kinds).toContainEqual(['"c:"', "string"]);
    expect(kinds).toContainEqual(["-1.5e3", "digits"]);
    expect(kinds).toContainEqual(["true", "word"]);
    expect(kinds).toContainEqual(["nix", "wrong"]);
  });
  test("the one at a column holds it", () => {
    const pieces = tokens('  "steps": 400,');
    expect(tokenAt(pieces, 3)?.text).toBe('"steps"');
    expect(tokenAt(pieces, 5)?.text).toBe('"steps"');
    expect(tokenAt(pieces, 12)?.text).toBe("400");
    expect(tokenAt(pieces, 99)?.text).toBe(",");
  });
});

describe("places", () => {
  test.each(shipped)("of %s: each node begins on the line of its name", (name) => {
    const text = read(name);
    const lines = text.split("\n");
    const all = places(parse(text));
    expect(all.length).toBeGreaterThanOrEqual(Object.keys(JSON.parse(text).nodes).length);
    for (const place of all) {
      expect(lines[place.from - 1]).toContain(`"${place.name}":`);
      const entry = lines.slice(place.from - 1, place.to).join("\n").replace(/,\s*$/, "");
      expect(() => JSON.parse(`{${entry}}`)).not.toThrow();
    }
  });
  test("the innermost node of a line, in hand-made layout too", () => {
    const text =
      '\n{"stepgraph": 1, "nodes":\n{"a": {"type": "x"}, "loop": {"type": "loop",\n"body": {"nodes": {\n"b":\n {"type":\n"y"}}}},\n"c": {"type": "z"}}}';
    const all = places(parse(text));
    expect(all.map((place) => [place.name, place.from, place.to])).toEqual([["a", 3, 3], ["loop", 3, 7], ["b", 5, 7], ["c", 8, 8]]);
    expect(placeOfLine(all, 6)?.name).toBe("b");
    expect(placeOfLine(all, 4)?.name).toBe("loop");
    expect(placeOfLine(all, 1)).toBeUndefined();
    expect(placeOf(all, ["nodes", "loop", "body"], "b")?.from).toBe(5);
    expect(placeOf(all, [], "b")).toBeUndefined();
  });
});
