import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Brush, Mask, brightness } from "../src/forms/mask";

const HARD: Brush = { size: 4, hardness: 1, erases: false };
const at = (mask: Mask, x: number, y: number) => mask.pixels[y * mask.size.width + x];

describe("strokes", () => {
  test("a dot is white within its radius and nowhere else", () => {
    const mask = new Mask({ width: 20, height: 20 });
    mask.stroke({ x: 10, y: 10 }, { x: 10, y: 10 }, { ...HARD, size: 8 });
    for (let y = 0; y < 20; y++) {
      for (let x = 0; x < 20; x++) {
        const far = Math.hypot(x + 0.5 - 10, y + 0.5 - 10);
        if (far <= 3.5) expect(at(mask, x, y)).toBe(255);
        if (far >= 4.5) expect(at(mask, x, y)).toBe(0);
      }
    }
  });
  test("a line has no gaps, however fast the pointer went", () => {
    const mask = new Mask({ width: 100, height: 10 });
    mask.stroke({ x: 5, y: 5 }, { x: 95, y: 5 }, HARD);
    for (let x = 5; x < 95; x++) expect(at(mask, x, 5)).toBe(255);
    expect(at(mask, 50, 0)).toBe(0);
  });
  test("a soft brush fades out, and going over it again does not harden it", () => {
    const mask = new Mask({ width: 40, height: 40 });
    const soft = { size: 30, hardness: 0.2, erases: false };
    mask.stroke({ x: 20, y: 20 }, { x: 20, y: 20 }, soft);
    const edge = at(mask, 31, 20)!;
    expect([at(mask, 20, 20), edge > 0, edge < 255]).toEqual([255, true, true]);
    mask.stroke({ x: 20, y: 20 }, { x: 20, y: 20 }, soft);
    expect(at(mask, 31, 20)).toBe(edge);
  });
  test("the eraser takes away what the brush painted", () => {
    const mask = new Mask({ width: 20, height: 20 });
    mask.stroke({ x: 3, y: 9 }, { x: 15, y: 9 }, HARD);
    mask.stroke({ x: 3, y: 9 }, { x: 15, y: 9 }, { ...HARD, size: 6, erases: true });
    expect(mask.share).toBe(0);
  });
  test("what changed lies within the area that is told, also beyond the edges", () => {
    const point = fc.record({ x: fc.integer({ min: -20, max: 60 }), y: fc.integer({ min: -20, max: 60 }) });
    fc.assert(
      fc.property(
        point,
        point,
        fc.integer({ min: 1, max: 30 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (from, to, size, hardness) => {
          const mask = new Mask({ width: 32, height: 24 });
          const area = mask.stroke(from, to, { size, hardness, erases: false });
          mask.pixels.forEach((value, index) => {
            const [x, y] = [index % 32, Math.floor(index / 32)];
            if (value > 0) expect(x >= area.left && x < area.right && y >= area.top && y < area.bottom).toBe(true);
          });
        },
      ),
    );
  });
});

test("fill stays within an outline, and leaves no grey line along it", () => {
  const mask = new Mask({ width: 30, height: 30 });
  for (const [from, to] of [[[5, 5], [25, 5]], [[25, 5], [25, 25]], [[25, 25], [5, 25]], [[5, 25], [5, 5]]] as const) {
    mask.stroke({ x: from[0], y: from[1] }, { x: to[0], y: to[1] }, { size: 3, hardness: 0.3, erases: false });
  } // prettier-ignore
  mask.fill({ x: 15, y: 15 });
  for (let y = 6; y < 24; y++) for (let x = 6; x < 24; x++) expect(at(mask, x, y)).toBe(255);
  expect([at(mask, 1, 1), at(mask, 28, 15)]).toEqual([0, 0]);
  mask.fill({ x: 15, y: 15 });
  expect(mask.share).toBe(0);
  mask.fill({ x: -1, y: 50 });
  expect(mask.share).toBe(0);
});

test("all, invert, clear", () => {
  const mask = new Mask({ width: 4, height: 4 });
  mask.setAll(255);
  expect(mask.share).toBe(1);
  mask.invert();
  expect(mask.share).toBe(0);
});

test("undo gives every former state again, redo every later one", () => {
  const step = fc.constantFrom<(mask: Mask) => void>(
    (mask) => mask.invert(), (mask) => mask.setAll(255), (mask) => mask.fill({ x: 1, y: 1 }),
    (mask) => void mask.stroke({ x: 0, y: 0 }, { x: 7, y: 5 }, HARD),
  ); // prettier-ignore
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const mask = new Mask({ width: 8, height: 6 });
      const states = [mask.pixels.slice()];
      for (const one of steps) {
        mask.begin();
        one(mask);
        states.push(mask.pixels.slice());
      }
      for (const state of states.toReversed().slice(1)) {
        mask.undo();
        expect(mask.pixels).toEqual(state);
      }
      expect(mask.undoable).toBe(false);
      for (const state of states.slice(1)) {
        mask.redo();
        expect(mask.pixels).toEqual(state);
      }
      expect(mask.redoable).toBe(false);
    }),
  );
});

test("the brightness of a picture is its mask; what is transparent is kept", () => {
  const pixels = new Uint8ClampedArray([255, 255, 255, 255, 0, 0, 0, 255, 255, 255, 255, 0, 255, 0, 0, 255]);
  expect([...brightness(pixels)]).toEqual([255, 0, 0, 76]);
});
