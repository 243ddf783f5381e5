/** The colour of a category of nodes, as a strip on each of them. */

const COLORS: Readonly<Record<string, string>> = {
  conditioning: "orange", image: "green", sampling: "teal", model: "blue", guidance: "violet", mask: "lime", text: "amber",
  latents: "magenta", noise: "cyan", fmri: "plum", lists: "steel", flow: "indigo",
}; // prettier-ignore

const OTHERS = ["rose", "moss", "sand", "red", "plum"];

export function categoryColor(category: string): string {
  const sum = [...category].reduce((all, letter) => all + letter.charCodeAt(0), 0);
  return `var(--type-${category === "" ? "grey" : (COLORS[category] ?? OTHERS[sum % OTHERS.length])})`;
}
