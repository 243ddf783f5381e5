/** Names of workflow files, by the server's rule: no dots and no slashes, so that a name is never a path. */

const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]*$/;
const LONGEST = 100;

/** What is wrong with a name; empty where nothing is. */
export function nameProblem(name: string): string {
  if (name === "") return "Give it a name.";
  if (name.length > LONGEST) return `The name has ${name.length} characters; ${LONGEST} are the most.`;
  if (/^[^A-Za-z0-9]/.test(name)) return "The name has to begin with a letter or a digit.";
  return NAME.test(name) ? "" : "A name is made of letters (a to z), digits, “_” and “-”; it needs no “.json”.";
}

/** A name that nothing else has: `base`, `base_2`, `base_3`. */
export function freeName(base: string, taken: ReadonlySet<string>): string {
  if (!taken.has(base)) return base;
  for (let count = 2; ; count++) {
    const end = `_${count}`;
    const name = base.slice(0, LONGEST - end.length) + end;
    if (!taken.has(name)) return name;
  }
}

/** The name that is offered for one's own version of a shipped workflow. */
export function ownName(name: string, taken: ReadonlySet<string>): string {
  return freeName(`my_${name}`.slice(0, LONGEST), taken);
}

/** The nearest name that the rule allows for a file from elsewhere: `My picture (1).json` becomes `My_picture_1`. */
export function nameOfFile(file: string): string {
  const plain = file.replace(/^.*[\\/]/, "").replace(/\.[A-Za-z0-9]{1,5}$/, "").normalize("NFKD");
  const name = plain.replace(/[^A-Za-z0-9_-]+/g, "_").replace(/^[_-]+|_+$/g, "").slice(0, LONGEST);
  return name || "workflow";
}
