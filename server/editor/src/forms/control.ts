/** Which control a port gets, decided from its name, its type and its JSON schema. */

import type { PortSchema } from "../api/types";
import type { Json } from "../document/syntax";

/** What the text in a port of a path names. */
export type Purpose = "model" | "picture" | "mask" | "file";

/** Bounds as JSON schemas have them; `above` and `below` do not contain their own value. */
export type Bounds = { minimum?: number; maximum?: number; above?: number; below?: number };
export type Slider = { min: number; max: number; step: number };

export type NumberControl = {
  kind: "number";
  integer: boolean;
  bounds: Bounds;
  slider: Slider | null;
  nullable: boolean;
};

export type Control =
  | NumberControl
  | { kind: "seed"; number: NumberControl }
  | { kind: "choice"; options: readonly Json[]; nullable: boolean }
  | { kind: "toggle" }
  | { kind: "text"; lines: boolean; nullable: boolean }
  | { kind: "path"; purpose: Purpose; nullable: boolean }
  | { kind: "list"; items: "string" | "integer" | "number" }
  | { kind: "json"; list?: true };

export type Described = { name: string; type: string; schema?: PortSchema; purpose?: Purpose };

const LONG_TEXT = /prompt|^text$/i;

export function controlOf({ name, type, schema, purpose }: Described): Control {
  const { schema: own, nullable } = withoutNull(schema ?? schemaOfType(type));
  if (own.enum) return { kind: "choice", options: own.enum, nullable };
  if (own.type === "boolean")
    return nullable ? { kind: "choice", options: [true, false], nullable } : { kind: "toggle" };
  if (own.type === "integer" || own.type === "number") return numeric(name, own, nullable);
  if (own.type === "array") return listOf(type === "list[str]" ? "string" : own.items?.type);
  if (own.type !== "string") return { kind: "json" };
  if (own.format === "path" || purpose) return { kind: "path", purpose: purpose ?? "file", nullable };
  return { kind: "text", lines: type === "lines" || LONG_TEXT.test(name), nullable };
}

/** A list with one item a line; as JSON where nobody knows what its items are. */
function listOf(items: string | undefined): Control {
  const plain = items === "string" || items === "integer" || items === "number";
  return plain ? { kind: "list", items } : { kind: "json", list: true };
}

function withoutNull(schema: PortSchema): { schema: PortSchema; nullable: boolean } {
  const others = schema.anyOf?.filter((one) => one.type !== "null") ?? [];
  if (others.length !== 1) return { schema, nullable: false };
  return { schema: others[0]!, nullable: schema.anyOf!.length > 1 };
}

const TYPES: Record<string, PortSchema> = {
  int: { type: "integer" },
  integer: { type: "integer" },
  float: { type: "number" },
  number: { type: "number" },
  str: { type: "string" },
  string: { type: "string" },
  lines: { type: "string" },
  bool: { type: "boolean" },
  boolean: { type: "boolean" },
  Path: { type: "string", format: "path" },
  path: { type: "string", format: "path" },
  "list[str]": { type: "array" },
};

/** A schema for a port that has none, such as the count of a loop: what its type's name says. */
function schemaOfType(type: string): PortSchema {
  const names = type.split(" or ");
  const others = names.filter((name) => name !== "None");
  const literals = others.map((name) => /^'(.*)'$/.exec(name)?.[1]);
  const found = literals.every((one) => one !== undefined)
    ? { type: "string", enum: literals as string[] }
    : (others.length === 1 && TYPES[others[0]!]) || {};
  return others.length < names.length ? { anyOf: [found, { type: "null" }] } : found;
}

function numeric(name: string, schema: PortSchema, nullable: boolean): Control {
  const integer = schema.type === "integer";
  const bounds = boundsOf(schema);
  const number: NumberControl = { kind: "number", integer, bounds, slider: sliderOf(integer, bounds), nullable };
  return integer && /(^|_)seed$/.test(name) ? { kind: "seed", number: { ...number, slider: null } } : number;
}

function boundsOf(schema: PortSchema): Bounds {
  return {
    ...(schema.minimum !== undefined && { minimum: schema.minimum }),
    ...(schema.maximum !== undefined && { maximum: schema.maximum }),
    ...(schema.exclusiveMinimum !== undefined && { above: schema.exclusiveMinimum }),
    ...(schema.exclusiveMaximum !== undefined && { below: schema.exclusiveMaximum }),
  };
}

/** The widest span that a slider is of use for: on some 200 pixels each of its values should be within reach. */
const WIDEST = 256;

function sliderOf(integer: boolean, bounds: Bounds): Slider | null {
  const low = bounds.minimum ?? bounds.above;
  const high = bounds.maximum ?? bounds.below;
  if (low === undefined || high === undefined || high <= low || high - low > WIDEST) return null;
  const step = integer ? 1 : stepOf(high - low);
  return { min: bounds.minimum ?? low + step, max: bounds.maximum ?? high - step, step };
}

/** The step of a slider for numbers with a point: fine enough for the span, and a round one. */
export function stepOf(span: number): number {
  if (span <= 0.1) return span / 100;
  if (span <= 1) return 0.01;
  if (span <= 10) return 0.05;
  if (span <= 20) return 0.1;
  return span <= 100 ? 0.5 : 1;
}

/** What a slider gives, without the noise of binary fractions. */
export function snapped(slider: Slider, value: number): number {
  const steps = Math.round((value - slider.min) / slider.step);
  const found = Number((slider.min + steps * slider.step).toPrecision(12));
  return Math.min(slider.max, Math.max(slider.min, found));
}
