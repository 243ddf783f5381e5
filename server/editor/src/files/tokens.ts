/** A line of JSON as coloured pieces. A line is enough: no token of JSON goes over the end of one. */

export type Kind = "key" | "string" | "digits" | "word" | "sign" | "space" | "wrong";
export type Token = { kind: Kind; text: string; column: number };

const TOKEN = /"(?:[^"\\]|\\.)*"?|-?\d[\d.eE+-]*|[A-Za-z_]+|[{}[\],:]+|[ \t\r\ufeff]+|./gu;
const KEY = /\s*:/y;

/** The pieces of a line, with their columns from 1; together they are the line again. */
export function tokens(line: string): Token[] {
  return [...line.matchAll(TOKEN)].map((found) => {
    const text = found[0];
    return { kind: kindOf(text, line, found.index + text.length), text, column: found.index + 1 };
  });
}

function kindOf(text: string, line: string, end: number): Kind {
  const first = text[0]!;
  if (first === '"') {
    KEY.lastIndex = end;
    return KEY.test(line) ? "key" : "string";
  }
  if (/[-\d]/.test(first)) return "digits";
  if (/^(true|false|null)$/.test(text)) return "word";
  if (/[{}[\],:]/.test(first)) return "sign";
  return /[ \t\r\ufeff]/.test(first) ? "space" : "wrong";
}

/** The piece that holds a column; the last one for a column behind the end. */
export function tokenAt(pieces: readonly Token[], column: number): Token | undefined {
  return pieces.findLast((piece) => piece.column <= column) ?? pieces[0];
}
