/** How an input of a workflow is declared, and what changes with its type. */

import type { Edit } from "../document/edit";
import type { Json } from "../document/syntax";
import type { InputDeclaration } from "../document/workflow";

/** The types that workflow files know for their inputs, with words for people. */
export const INPUT_TYPES: Readonly<Record<string, string>> = {
  string: "text", integer: "whole number", number: "number", boolean: "yes or no", path: "path (model, picture, file)",
  array: "list", any: "anything that a link gives",
}; // prettier-ignore

const EMPTY: Record<string, Json> = { string: "", integer: 0, number: 0, boolean: false, array: [] };

/** The declaration with another type. What does not fit the new type goes; a default becomes one of the type. */
export function retyped(declaration: InputDeclaration, type: string): InputDeclaration {
  const { default: old, minimum, maximum, enum: options, items, ...others } = declaration;
  const number = type === "integer" || type === "number";
  const fallback = old === undefined ? undefined : (converted(old, type) ?? EMPTY[type]);
  return {
    ...others, type,
    ...(fallback !== undefined && { default: fallback }),
    ...(number && minimum !== undefined && { minimum }), ...(number && maximum !== undefined && { maximum }),
    ...(type === "array" && items !== undefined && { items }),
    ...(type === "string" && options?.every((one) => typeof one === "string") && { enum: options }),
  }; // prettier-ignore
}

function converted(value: Json, type: string): Json | undefined {
  if (type === "any") return value;
  if (type === "string") return typeof value === "object" ? undefined : String(value);
  if (type === "path") return typeof value === "string" ? value : undefined;
  if (type === "boolean") return typeof value === "boolean" ? value : undefined;
  if (type === "array") return Array.isArray(value) ? value : undefined;
  const number =
    typeof value === "number" || (typeof value === "string" && value.trim() !== "") ? Number(value) : Number.NaN;
  if (!Number.isFinite(number)) return undefined;
  return type === "integer" ? Math.round(number) : number;
}

/** The edits that make a declaration another one, key by key, so that the rest of the file stays as it is. */
export function declarationEdits(name: string, before: InputDeclaration, after: InputDeclaration): Edit[] {
  const keys = Object.keys({ ...before, ...after }) as (keyof InputDeclaration)[];
  return keys.flatMap((key): Edit[] => {
    const value = after[key] as Json | undefined;
    const path = ["inputs", name, key];
    if (value !== undefined) return [{ op: "set", path, value }];
    return before[key] === undefined ? [] : [{ op: "remove", path }];
  });
}

/** Prompts first, as they are what most runs change; the others as the file has them. */
export function inOrder<Named extends { name: string }>(ports: readonly Named[]): Named[] {
  const rank = ({ name }: Named) => (name === "prompt" ? 0 : /prompt/.test(name) ? 1 : 2);
  return [...ports].sort((a, b) => rank(a) - rank(b));
}
