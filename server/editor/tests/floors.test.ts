/** The rooms of the editor: imports point down, and rooms beside each other do not know each other. */

import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const SRC = new URL("../src/", import.meta.url);

/** From the lowest floor up; rooms of one floor do not import each other. */
const FLOORS = [
  ["document"],
  ["api"],
  ["graph"],
  ["state"],
  ["parts"],
  ["forms"],
  ["canvas", "run", "loop", "files"],
  ["shell"],
];
const floorOf = new Map(FLOORS.flatMap((rooms, floor) => rooms.map((room) => [room, floor] as const)));

type Import = { file: string; room: string; of: string };

const sources = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter(
  (name) => /\.tsx?$/.test(name) && name.includes("/"),
);
const imports: Import[] = sources.flatMap((file) => {
  const text = readFileSync(new URL(file, SRC), "utf8");
  const named = [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map(
    (found) => new URL(found[1]!, new URL(file, SRC)),
  );
  return named.map((url) => ({ file, room: roomOf(file), of: roomOf(url.href.slice(SRC.href.length)) }));
});

function roomOf(path: string): string {
  return path.split("/")[0]!;
}

test("every room is on a floor", () => {
  expect(new Set(sources.map(roomOf))).toEqual(new Set(floorOf.keys()));
  expect(imports.length).toBeGreaterThan(100);
});

test("imports point down", () => {
  const wrong = imports.filter(({ room, of }) => room !== of && !(floorOf.get(of)! < floorOf.get(room)!));
  expect(wrong.map(({ file, of }) => `${file} imports ${of}`)).toEqual([]);
});

test("the document and the graph know nothing of the page", () => {
  const pure = sources.filter((file) => ["document", "graph"].includes(roomOf(file)));
  const tied = pure.filter((file) =>
    /from "(react|react-dom|zustand|@xyflow\/react)/.test(readFileSync(new URL(file, SRC), "utf8")),
  );
  expect(tied).toEqual([]);
});
