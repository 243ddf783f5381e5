/** The types of ports: their names, as the server's catalog writes them, and what fits where. */

const UNTYPED = new Set(["any", "Any", "object", ""]);

/** The JSON types that workflow files declare for their inputs, in the words of the catalog. */
const DECLARED: Record<string, string> = {
  integer: "int",
  number: "float",
  string: "str",
  boolean: "bool",
  path: "Path",
};

/** The members of a union, in the catalog's words: "Latents or None" has two. */
export function members(type: string): string[] {
  return type.split(" or ").map((member) => DECLARED[member] ?? member);
}

/** A type without None, for its colour and its name on a socket. */
export function plain(type: string): string {
  const found = members(type).filter((member) => member !== "None");
  return found.length > 0 && found.every((member) => member.startsWith("'")) ? "choice" : (found[0] ?? "any");
}

export function isUntyped(type: string): boolean {
  return members(type).some((member) => UNTYPED.has(member));
}

/**
 * Whether a value of one type may go into a port of another, as far as names tell. The checker of the server has the last
 * word; this one is for colours and offers while a link is drawn.
 */
export function mayFit(given: string, wanted: string): boolean {
  if (isUntyped(given) || isUntyped(wanted)) return true;
  const takes = members(wanted);
  return members(given).some((one) => one !== "None" && takes.some((other) => oneFits(one, other)));
}

function oneFits(given: string, wanted: string): boolean {
  if (given === wanted) return true;
  if (given === "int" && wanted === "float") return true;
  if ((given === "str" || given === "Path") && (wanted === "Path" || wanted === "str" || wanted.startsWith("'")))
    return true;
  const inner = itemOf(wanted);
  const outer = itemOf(given);
  return inner !== null && mayFit(outer ?? given, inner);
}

function itemOf(type: string): string | null {
  return /^list\[(.*)\]$/.exec(type)?.[1] ?? null;
}

/** Whether a value of one type is no list, and goes into a list of another type as one of its items. */
export function isItem(given: string, wanted: string): boolean {
  const inner = members(wanted)
    .map(itemOf)
    .find((item) => item !== null);
  if (inner === undefined || inner === null || isUntyped(given)) return false;
  return !members(given).some((one) => itemOf(one) !== null || one === "array") && mayFit(given, inner);
}

const IN_FILES: Record<string, string> = {
  int: "integer",
  float: "number",
  str: "string",
  bool: "boolean",
  Path: "path",
};

/** The type that a file's input is declared with for a port of a type: `any` where JSON has no word for it. */
export function declaredType(type: string): string {
  const found = members(type).filter((member) => member !== "None");
  if (found.length > 0 && found.every((member) => /^'.*'$/.test(member))) return "string";
  return (found.length === 1 && IN_FILES[found[0]!]) || "any";
}
