/** The colour of a type, wherever types are drawn: sockets, links, badges. Both themes define the variables. */

import { plain } from "../graph/types";
import "./typeColor.css";

const COLORS: Readonly<Record<string, string>> = {
  Latents: "magenta", Image: "green", Mask: "lime", Conditioning: "orange", NoisePred: "violet", Timestep: "sand",
  Timesteps: "sand", Solver: "teal", SchedulerConfig: "teal", UNetModel: "blue", VaeModel: "red", EncoderModel: "red",
  TextEncoderModel: "amber", TokenizerModel: "amber", Tokens: "amber", LatentSpace: "plum", Generators: "cyan",
  ControlNetModel: "indigo", AdapterModel: "indigo", ImageEncoderModel: "indigo", int: "steel", float: "steel", str: "moss",
  Path: "moss", bool: "rose", choice: "moss", any: "grey", Any: "grey", object: "grey", None: "grey",
}; // prettier-ignore

const OTHERS = ["blue", "green", "violet", "red", "teal", "plum", "lime", "indigo", "cyan", "magenta"];

/** A list has the colour of its items. */
export function itemType(type: string): string {
  const found = /^(?:list|tuple|Sequence)\[(.*)\]$/.exec(plain(type))?.[1];
  return found === undefined ? plain(type) : itemType(found);
}

export function isList(type: string): boolean {
  return plain(type) === "Timesteps" || itemType(type) !== plain(type);
}

/** A CSS colour. Types of plugins get one by their name, always the same. */
export function typeColor(type: string): string {
  const name = itemType(type);
  return `var(--type-${COLORS[name] ?? OTHERS[spread(name) % OTHERS.length]})`;
}

function spread(name: string): number {
  let sum = 7;
  for (const letter of name) sum = (sum * 31 + letter.charCodeAt(0)) >>> 0;
  return sum;
}
