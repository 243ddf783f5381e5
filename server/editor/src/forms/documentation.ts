/** The documentation of a node type, as its docstring has it. What it says of inputs stands with their fields. */

export type Section = { title: string; paragraphs: readonly string[] };
export type Documentation = { summary: string; paragraphs: readonly string[]; sections: readonly Section[] };

const HEADING = /^(Args|Returns|Raises|Yields|Attributes|Examples?|Notes?):$/;

export function readDocumentation(doc: string): Documentation {
  const [before = [], ...parts] = split(doc.trim().split("\n"));
  const [first = "", ...paragraphs] = paragraphsOf(before);
  const sections = parts.map(([heading = "", ...lines]) => ({
    title: heading.slice(0, -1),
    paragraphs: paragraphsOf(lines),
  }));
  return { summary: first, paragraphs, sections: sections.filter((one) => one.title !== "Args") };
}

/** The lines before the first heading, then those of each section with its heading. */
function split(lines: readonly string[]): string[][] {
  const parts: string[][] = [[]];
  for (const line of lines) {
    if (HEADING.test(line)) parts.push([line]);
    else parts.at(-1)!.push(line);
  }
  return parts;
}

/** Lines that follow each other are one paragraph; one that begins a list (`- `, `name: `) begins a new one. */
function paragraphsOf(lines: readonly string[]): string[] {
  const found: string[] = [];
  let open = false;
  for (const line of lines.map((one) => one.trim())) {
    if (line === "") open = false;
    else if (open && !/^(- |\w+: )/.test(line)) found.push(`${found.pop()} ${line}`);
    else found.push(line);
    if (line !== "") open = true;
  }
  return found;
}

/** A text and its parts between backticks, which are code. */
export function codeIn(text: string): { text: string; code: boolean }[] {
  return text
    .split(/(`[^`]+`)/)
    .filter((part) => part !== "")
    .map((part) => (/^`[^`]+`$/.test(part) ? { text: part.slice(1, -1), code: true } : { text: part, code: false }));
}
