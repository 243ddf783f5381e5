/** The record in a picture that Stepgraph made: its workflow with all files that it calls, and its inputs. */

import type { Json } from "./syntax";

export type Provenance = {
  /** The name of the main file in `files`: `txt2img.json`. */
  workflow: string;
  files: Readonly<Record<string, string>>;
  inputs: Readonly<Record<string, Json>>;
  /** Versions of what ran. */
  environment: Readonly<Record<string, string>>;
};

/** Why a file gives no workflow, in words for people. */
export class PngProblem extends Error {}

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const KEYWORD = "stepgraph";
const FORMAT = 1;
/** A longer record is refused: pictures come from anywhere, and a text may be packed a thousandfold. */
const MOST_BYTES = 64 * 2 ** 20;

/** Reads the record of a PNG file. Throws a PngProblem where there is none, or a damaged one. */
export async function readProvenance(file: Uint8Array<ArrayBuffer>): Promise<Provenance> {
  if (!isPng(file)) throw new PngProblem("This is no PNG file; only PNG pictures hold the workflow that made them.");
  for (const { kind, data, checked } of chunks(file)) {
    if (kind !== "iTXt" || keywordOf(data) !== KEYWORD) continue;
    if (!checked) throw new PngProblem("The picture is damaged: the checksum of its metadata is wrong.");
    return recordOf(await textOf(data.subarray(KEYWORD.length + 1)));
  }
  throw new PngProblem(
    "The picture holds no workflow: it was not made by Stepgraph, or a program that edited it dropped the metadata.",
  );
}

export function isPng(file: Uint8Array): boolean {
  return SIGNATURE.every((byte, at) => file[at] === byte);
}

type Chunk = { kind: string; data: Uint8Array<ArrayBuffer>; checked: boolean };

function* chunks(file: Uint8Array<ArrayBuffer>): Generator<Chunk> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  for (let at = SIGNATURE.length; at + 12 <= file.length;) {
    const end = at + 8 + view.getUint32(at);
    if (end + 4 > file.length) break;
    const kind = latin1(file.subarray(at + 4, at + 8));
    if (kind === "IEND") return;
    const checked = kind !== "iTXt" || crc32(file.subarray(at + 4, end)) === view.getUint32(end);
    yield { kind, data: file.subarray(at + 8, end), checked };
    at = end + 4;
  }
  throw new PngProblem("The picture is damaged: it ends too early.");
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function keywordOf(data: Uint8Array): string {
  return latin1(data.subarray(0, Math.max(0, data.subarray(0, 80).indexOf(0))));
}

/**
 * The text of an iTXt chunk after its keyword (PNG specification, 11.3.3.4): flag, method, language, translation, text.
 */
async function textOf(data: Uint8Array<ArrayBuffer>): Promise<string> {
  const [compressed, method] = data;
  const language = data.indexOf(0, 2);
  const translation = language < 0 ? -1 : data.indexOf(0, language + 1);
  if (translation < 0 || (compressed === 1 && method !== 0)) throw damaged("its text is packed in an unknown way");
  const text = data.subarray(translation + 1);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(compressed === 1 ? await inflated(text) : text);
  } catch (problem) {
    throw problem instanceof PngProblem ? problem : damaged("its text cannot be unpacked");
  }
}

function damaged(why: string): PngProblem {
  return new PngProblem(`The record in the picture is damaged: ${why}.`);
}

/** Unpacks up to the most bytes, and not many further. */
async function inflated(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const reader = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    parts.push(read.value);
    length += read.value.length;
    if (length > MOST_BYTES) {
      await reader.cancel();
      throw damaged(`it is longer than ${MOST_BYTES / 2 ** 20} MB`);
    }
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function recordOf(text: string): Provenance {
  let found: Partial<Provenance> & { stepgraph?: unknown };
  try {
    found = JSON.parse(text) as typeof found;
  } catch {
    throw damaged("it is no JSON");
  }
  if (found?.stepgraph !== FORMAT) {
    throw new PngProblem(
      `The record in the picture has the form ${JSON.stringify(found?.stepgraph)}; this editor reads form ${FORMAT}.`,
    );
  }
  const { workflow, files, inputs = {}, environment = {} } = found;
  if (typeof workflow !== "string" || typeof files?.[workflow] !== "string") throw damaged("it names no workflow file");
  if (!Object.values(files).every((one) => typeof one === "string")) throw damaged("one of its files is no text");
  return { workflow, files, inputs, environment };
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** The checksum of PNG chunks (PNG specification, annex D). */
function crc32(bytes: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 0xff]! ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
