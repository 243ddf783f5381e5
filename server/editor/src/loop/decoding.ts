/**
 * The request that decodes the pictures of a loop's steps: copies of the files on the way to the loop, and in its body one
 * more node, the workflow's own decoder. All else in it is what the run computed, so that only decodes run; and as each of
 * them depends on its step alone, none runs twice, neither for a longer run nor for the finished picture.
 */

import type { Asked } from "../api/types";
import type { Json } from "../document/syntax";
import type { NodeEntry, Source } from "../document/workflow";
import { dependents, sourceNode } from "../graph/flow";
import { type Loop, isType, originalOf } from "../graph/loops";
import { linksIn } from "../graph/references";
import { type Scope, isBody } from "../graph/scope";
import { Copies, NoRequest, type RunTexts } from "./copies";

/** x0-hat, the picture that a step foresees; or the latents as they are, noise and all. */
export type Shown = "originals" | "latents";

/** Names that nobody else gives. */
const MADE = { original: "original__", split: "split__", decoded: "decoded__", images: "images__", count: "count__" };

export type Decoding = {
  asked: Asked;
  /** The static path of the calls that decode, one for each step. */
  path: string;
};

export type Given = RunTexts & {
  loop: Loop;
  shown: Shown;
  /** How many steps there are, where the run ended before it had done them all; else null. */
  done: number | null;
};

/** Throws NoRequest. */
export function decodingOf(given: Given): Decoding {
  return new Plan(given).done();
}

/** Responsibilities: put a decoder into the loop, with all that it takes. */
class Plan {
  private readonly copies: Copies;

  constructor(private readonly given: Given) {
    this.copies = new Copies(given);
  }

  done(): Decoding {
    const { loop } = this.given;
    if (this.given.done !== null) this.cut(this.given.done);
    const [scope, decoder] = decoderAfter(loop.scope, loop.node);
    const inputs = this.handDown(scope, decoder);
    this.inBody([...this.body, "nodes", MADE.decoded], { type: decoder.type, inputs: { ...inputs, latents: { from: this.latents() } } });
    this.inBody([...this.body, "collect", MADE.images], { from: MADE.decoded });
    const count = { type: "count", inputs: { items: { from: `${loop.node}.${MADE.images}` } } };
    this.inBody(["nodes", MADE.count], count);
    this.copies.raise(loop.scope, MADE.count, MADE.count);
    return { asked: this.copies.asked(loop.scope), path: `${loop.path}.${MADE.decoded}` };
  }

  private get body(): string[] {
    return ["nodes", this.given.loop.node, "body"];
  }

  private inBody(path: string[], value: NodeEntry | Source): void {
    this.copies.edit(this.given.loop.scope, { op: "set", path, value: value as Json });
  }

  /** Only the steps that there are. */
  private cut(done: number): void {
    const { loop } = this.given;
    const each = Object.entries(loop.entry.each ?? {});
    if (each.length !== 1 || around(loop.scope)) throw new NoRequest("The run ended early; these steps are shown in false colours.");
    const [name, timesteps] = each[0]!;
    const split = { type: "split_timesteps", inputs: { timesteps, at: done } };
    this.copies.edit(loop.scope, { op: "set", path: ["nodes", MADE.split], value: split });
    this.copies.edit(loop.scope, { op: "set", path: ["nodes", loop.node, "each", name], value: { from: `${MADE.split}.first` } });
  }

  /** What is decoded, as the body of the loop has it. */
  private latents(): string {
    const { loop, shown } = this.given;
    if (shown === "latents") return loop.step;
    const original = originalOf(loop.body);
    if (original === null) throw new NoRequest("This loop has no scheduler step, so nothing foresees its picture.");
    if (original.add) this.inBody([...this.body, "nodes", MADE.original], original.add);
    return original.from ?? MADE.original;
  }

  /** Hands what the decoder takes, but for the latents, down to the body; returns its inputs there. */
  private handDown(scope: Scope, decoder: NodeEntry): Record<string, Source> {
    const { latents: _, ...others } = decoder.inputs ?? {};
    const way = [...ownersBetween(scope, this.given.loop.scope), this.given.loop];
    return Object.fromEntries(
      Object.entries(others).map(([name, source]) => [name, linksIn(source).length === 0 ? source : this.handOne(way, `${name}__`, source)]),
    );
  }

  private handOne(way: { scope: Scope; node: string }[], name: string, source: Source): Source {
    const inner = { from: `inputs.${name}` };
    way.forEach(({ scope, node }, at) => {
      const given = at === 0 ? source : inner;
      this.copies.edit(scope, { op: "set", path: ["nodes", node, "inputs", name], value: given as Json });
      const inside = way[at + 1]?.scope;
      if (inside && !isBody(inside)) this.copies.edit(inside, { op: "set", path: ["inputs", name], value: { type: "any" } });
    });
    return inner;
  }
}

/** Whether loops or maps lie around a level. */
function around(scope: Scope): boolean {
  return isBody(scope) || (scope.owner !== null && around(scope.owner.scope));
}

/** The nodes on the way from a level down to one within it, the outermost first. */
function ownersBetween(from: Scope, to: Scope): { scope: Scope; node: string }[] {
  if (to === from || to.owner === null) return [];
  return [...ownersBetween(from, to.owner.scope), to.owner];
}

/** The decoder of what a loop makes, in its own level or the nearest one above. Throws NoRequest. */
function decoderAfter(scope: Scope, node: string): [Scope, NodeEntry] {
  const after = dependents(scope.level.nodes, (from) => sourceNode(from) === node).add(node);
  const comesAfter = (source: Source | undefined) => linksIn(source).some(({ from }) => after.has(sourceNode(from)));
  const found = Object.values(scope.level.nodes).find(
    (entry) => isType(entry, "vae_decode") && comesAfter(entry.inputs?.latents) && !comesAfter(entry.inputs?.vae),
  );
  if (found) return [scope, found];
  if (scope.owner === null) throw new NoRequest("No vae_decode comes after this loop; its steps are shown in false colours.");
  return decoderAfter(scope.owner.scope, scope.owner.node);
}
