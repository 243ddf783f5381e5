/** Texts in fields as values, or what is wrong with them, in words. */

import type { Json } from "../document/syntax";
import type { Bounds, NumberControl } from "./control";

/** `undefined` takes the value back, so that the default applies. */
export type Parsed = { value: Json | undefined } | { problem: string };

/** What an empty box means. */
export type Empty = { value: Json | undefined } | "refused";

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

export function parseNumber(text: string, control: Pick<NumberControl, "integer" | "bounds">, empty: Empty): Parsed {
  const written = text.trim();
  const wanted = control.integer ? "A whole number" : "A number";
  if (written === "") return empty === "refused" ? { problem: `${wanted} is needed here.` } : empty;
  if (/^[+-]?\d+,\d+$/.test(written)) return { problem: `Write ${written.replace(",", ".")}, with a point.` };
  if (!NUMBER.test(written)) return { problem: `${wanted} is expected, not “${written}”.` };
  const value = Number(written);
  if (control.integer && !Number.isInteger(value)) return { problem: `A whole number is expected, not ${written}.` };
  if (control.integer && !Number.isSafeInteger(value)) return { problem: TOO_LONG };
  if (!Number.isFinite(value)) return { problem: `${written} is too large for a number.` };
  const problem = outOfBounds(value, control.bounds);
  return problem === null ? { value } : { problem };
}

const TOO_LONG = `Numbers beyond ${Number.MAX_SAFE_INTEGER} lose digits on this page; write them into the file itself.`;

function outOfBounds(value: number, { minimum, maximum, above, below }: Bounds): string | null {
  const outside =
    (minimum !== undefined && value < minimum) || (above !== undefined && value <= above) ||
    (maximum !== undefined && value > maximum) || (below !== undefined && value >= below); // prettier-ignore
  return outside ? `${capital(inWords({ minimum, maximum, above, below }))} is expected, not ${value}.` : null;
}

/** Bounds for people: "0 to 100", "more than 0 and at most 16", "at least 1"; empty where there are none. */
export function inWords({ minimum, maximum, above, below }: Bounds): string {
  if (minimum !== undefined && maximum !== undefined) return `${minimum} to ${maximum}`;
  const low = minimum !== undefined ? `at least ${minimum}` : above !== undefined ? `more than ${above}` : "";
  const high = maximum !== undefined ? `at most ${maximum}` : below !== undefined ? `less than ${below}` : "";
  return [low, high].filter(Boolean).join(" and ");
}

function capital(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export function parseJson(text: string, empty: Empty): Parsed {
  if (text.trim() === "") return empty === "refused" ? { problem: "A value is needed here." } : empty;
  try {
    return { value: JSON.parse(text) as Json };
  } catch {
    return { problem: `No JSON: a text stands in double quotes, a list in [brackets]. Came: ${text.trim()}` };
  }
}

/** A list as JSON. */
export function parseList(text: string, empty: Empty): Parsed {
  const parsed = parseJson(text, empty);
  if ("problem" in parsed || parsed.value === undefined || Array.isArray(parsed.value)) return parsed;
  return { problem: `A list is expected: [${text.trim()}], in brackets.` };
}

/** A list with one text a line, or one number; numbers may stand behind each other too. */
export function parseLines(text: string, items: "string" | "integer" | "number"): Parsed {
  if (text === "") return { value: [] };
  if (items === "string") return { value: text.split("\n") };
  const words = text.split(/[\s,;]+/).filter(Boolean);
  const parsed = words.map((word) => parseNumber(word, { integer: items === "integer", bounds: {} }, "refused"));
  const wrong = parsed.find((one) => "problem" in one);
  return wrong ?? { value: parsed.map((one) => (one as { value: number }).value) };
}

/** Whether a value can stand in a box with one item a line. */
export function hasLines(value: Json | undefined): boolean {
  if (value === undefined || value === null) return true;
  const plain = (item: Json) => (typeof item === "string" ? !item.includes("\n") : typeof item === "number");
  return Array.isArray(value) && value.every(plain);
}

export function inLines(value: Json | undefined): string {
  return Array.isArray(value) ? value.map(written).join("\n") : written(value);
}

/** A value as it stands in its box. */
export function written(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}
