import type { NodeType } from "../api/types";
import type { NodeEntry } from "../document/workflow";
import { INPUTS, outputNames } from "../graph/graph";
import { type Scope, enter, enterAll } from "../graph/scope";
import { useStore } from "../state/store";
import type { Looked } from "./looked";
import { usePlace } from "./place";
import type { Instance } from "./steps";

type Value = { path: string; output: string; label: string };

/** What goes into a step and what it makes, each to be looked at in the inspector. */
export function StepValues({ looked, instance, index }: { looked: Looked; instance: Instance; index: number }) {
  const catalog = useStore((state) => state.catalog);
  const inspect = useStore((state) => state.inspect);
  const go = usePlace((state) => state.go);
  const open = ({ path, output }: Value) => {
    for (const [loop, at] of Object.entries(instance.outer)) go(loop, at);
    go(instance.loop.path, index);
    inspect(path, output);
  };
  return (
    <div className="step-values" role="group" aria-label={`Values of step ${index + 1}`}>
      {valuesOf(looked, instance, catalog).map((value) => (
        <button key={`${value.path} ${value.output}`} onClick={() => open(value)} title="Look at it in the inspector">
          {value.label}
        </button>
      ))}
    </div>
  );
}

/** The values of a step: what it is given, and what its nodes make, those of called files too. */
function valuesOf(looked: Looked, { loop }: Instance, catalog: ReadonlyMap<string, NodeType>): Value[] {
  const inside = enterAll(looked.root, loop.path.split("."), looked.files);
  if (inside === null) return [];
  const ends = `${loop.path}.${INPUTS}`;
  const each = Object.keys(loop.entry.each ?? {}).map((name) => ({ path: ends, output: `each.${name}`, label: name }));
  const carried = Object.keys(loop.body.carry ?? {}).map((name) => ({ path: ends, output: `carry.${name}`, label: `${name} before` }));
  return [...each, ...carried, ...madeIn(inside, catalog, looked)];
}

function madeIn(scope: Scope, catalog: ReadonlyMap<string, NodeType>, looked: Looked): Value[] {
  return Object.entries(scope.level.nodes).flatMap(([name, entry]) => {
    const path = [...scope.path, name].join(".");
    const inside = enter(scope, name, looked.files);
    const names = outputsOf(entry, catalog, inside);
    const own = names.map((output) => ({ path, output, label: names.length === 1 ? name : `${name}.${output}` }));
    return inside === null ? own : [...own, ...madeIn(inside, catalog, looked).map((one) => ({ ...one, label: `${name} › ${one.label}` }))];
  });
}

function outputsOf(entry: NodeEntry, catalog: ReadonlyMap<string, NodeType>, inside: Scope | null): string[] {
  if (entry.type === "switch") return ["output"];
  if (entry.type === "workflow") return Object.keys((inside?.level as { outputs?: object } | undefined)?.outputs ?? {});
  return Object.keys(catalog.get(entry.type)?.outputs ?? {}).concat(entry.body ? outputNames(entry) : []);
}
