import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { PngProblem, isPng, readProvenance } from "../src/document/png";

const read = (path: string) => new Uint8Array(readFileSync(new URL(path, import.meta.url)));
/** A picture that a run of txt2img wrote. */
const cat = () => read("fixtures/cat.png");

test("a picture that was made here holds its workflow, all files that it calls, and the inputs", async () => {
  const { workflow, files, inputs, environment } = await readProvenance(cat());
  expect(workflow).toBe("txt2img.json");
  expect(Object.keys(files).sort()).toEqual(["denoise.json", "predict.json", "txt2img.json"]);
  expect((JSON.parse(files["denoise.json"]!) as { title: string }).title).toBe("Denoise");
  expect(inputs).toMatchObject({ prompt: "a cat", steps: 4, seed: 0, model: "builtin:emoji" });
  expect(environment.stepgraph).toBeTruthy();
});

test("a picture from elsewhere holds none", async () => {
  const map = read("../../../workflows/example_map.png");
  expect(isPng(map)).toBe(true);
  await expect(readProvenance(map)).rejects.toThrow(/holds no workflow/);
});

test("what is no PNG is said to be none", async () => {
  await expect(readProvenance(new TextEncoder().encode('{"stepgraph": 1}'))).rejects.toThrow(/no PNG/);
});

test("a changed byte in the record is found by its checksum", async () => {
  const broken = cat();
  broken[200]! ^= 1;
  await expect(readProvenance(broken)).rejects.toThrow(/checksum/);
});

test.each([20, 60, 1000, 3000])("a picture that ends after %d bytes is damaged, or has no record", async (length) => {
  await expect(readProvenance(cat().slice(0, length))).rejects.toThrow(PngProblem);
});
