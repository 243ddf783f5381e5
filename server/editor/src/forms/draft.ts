/** What somebody types, kept as it was typed while it is no value yet. */

import { useState } from "react";
import { same } from "../document/edit";
import type { Json } from "../document/syntax";
import type { Parsed } from "./parse";

export type Draft = {
  text: string;
  problem: string | null;
  type(text: string): void;
  /** The field is left: a text that is a value is then shown as values are; one that is none stays with its problem. */
  leave(): void;
};

type Typed = { text: string; problem: string | null; value: Json | undefined };

/**
 * The text of a field for a value. A text that is a value is set at once; any other stays in the box alone.
 * A value that comes from elsewhere (undo, another field) replaces what was typed.
 */
export function useDraft(
  value: Json | undefined,
  shown: string,
  parse: (text: string) => Parsed,
  set: (value: Json | undefined) => void,
): Draft {
  const [typed, setTyped] = useState<Typed | null>(null);
  const mine = typed !== null && equal(typed.value, value) ? typed : null;
  const type = (text: string) => {
    const parsed = parse(text);
    if ("problem" in parsed) return setTyped({ text, problem: parsed.problem, value });
    setTyped({ text, problem: null, value: parsed.value });
    if (!equal(parsed.value, value)) set(parsed.value);
  };
  const leave = () => {
    if (mine?.problem === null) setTyped(null);
  };
  return { text: mine?.text ?? shown, problem: mine?.problem ?? null, type, leave };
}

function equal(a: Json | undefined, b: Json | undefined): boolean {
  return a === undefined || b === undefined ? a === b : same(a, b);
}
