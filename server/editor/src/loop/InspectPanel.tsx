import { type CSSProperties, useMemo } from "react";
import { api } from "../api/client";
import type { Asked } from "../api/types";
import { INPUTS } from "../graph/graph";
import { type Found, type Iterations, loopsAround, totalsOf } from "../graph/origin";
import { typeColor } from "../parts/typeColor";
import { rootDoc } from "../state/documents";
import type { Inspected } from "../state/interface";
import { useStore } from "../state/store";
import { requestFor, useAlone } from "./alone";
import { type Call, useCalls } from "./calls";
import { type Looked, useLooked } from "./looked";
import { Picture } from "./Picture";
import { usePlace } from "./place";
import { given, keyOf, useFound } from "./value";
import { PlainValue, ValueCard } from "./ValueCard";
import "./loop.css";

/** The value on a link, in the run that is shown. */
export default function InspectPanel() {
  const inspected = useStore((state) => state.inspected);
  const looked = useLooked();
  if (inspected === null || looked === null) {
    return <p className="quiet">Click a link, press I on a node, or choose a value of a step, and what it holds shows here.</p>;
  }
  return <Inspector inspected={inspected} looked={looked} />;
}

function Inspector({ inspected, looked }: { inspected: Inspected; looked: Looked }) {
  const { calls, totals: told, problem } = useCalls(looked);
  const totals = useMemo(() => ({ ...totalsOf(calls.keys()), ...told }), [calls, told]);
  const at = useIterations(inspected.path, totals);
  const found = useFound(looked, inspected, at, totals, calls);
  const name = nameOf(inspected);
  return (
    <div className="inspector">
      <div>
        <h2>{name}</h2>
        <TypeBadge inspected={inspected} />
      </div>
      {loopsAround(inspected.path, totals).map((loop) => (
        <Iteration key={loop} loop={loop} index={at[loop] ?? 0} count={totals[loop]!} />
      ))}
      {problem !== "" && <p className="bad">Which values there are is not known: {problem}</p>}
      {found && <FoundValue name={name} inspected={inspected} found={found} looked={looked} calls={calls} />}
      <Pinned />
    </div>
  );
}

/** The chosen iterations of the loops around a node, each within what there is; the last ones, as long as nobody chose. */
function useIterations(path: string, totals: Iterations): Iterations {
  const chosen = usePlace((state) => state.at);
  return useMemo(() => {
    const around = loopsAround(path, totals).map((loop) => [loop, Math.min(chosen[loop] ?? Number.MAX_SAFE_INTEGER, totals[loop]! - 1)] as const);
    return Object.fromEntries(around);
  }, [path, totals, chosen]);
}

function nameOf({ path, output }: Inspected): string {
  if (!path.endsWith(INPUTS)) return output === "output" ? path : `${path} › ${output}`;
  return [path.slice(0, -INPUTS.length - 1), output].filter(Boolean).join(" › ");
}

function TypeBadge({ inspected }: { inspected: Inspected }) {
  const type = useStore((state) => typeOf(state.checks[rootDoc(state)?.name ?? ""]?.types, state.checks[rootDoc(state)?.name ?? ""]?.inputs, inspected));
  if (type === undefined) return null;
  return (
    <span className="type-badge" style={{ "--badge-color": typeColor(type) } as CSSProperties}>
      {type}
    </span>
  );
}

type Types = Readonly<Record<string, { inputs: Record<string, string>; outputs: Record<string, string> }>> | undefined;

function typeOf(types: Types, inputs: Readonly<Record<string, string>> | undefined, { path, output }: Inspected): string | undefined {
  if (!path.endsWith(INPUTS)) return types?.[path]?.outputs[output] ?? Object.values(types?.[path]?.outputs ?? {})[0];
  const owner = path.slice(0, -INPUTS.length - 1);
  const port = output.slice(output.indexOf(".") + 1);
  if (owner === "") return inputs?.[port];
  if (output === "index") return "int";
  const given = types?.[owner]?.inputs;
  const type = given?.[output] ?? given?.[port];
  return output.startsWith("each.") ? (/^list\[(.*)\]$/.exec(type ?? "")?.[1] ?? type) : type;
}

function Iteration({ loop, index, count }: { loop: string; index: number; count: number }) {
  const go = usePlace((state) => state.go);
  return (
    <label className="iteration">
      <span>
        Step {index + 1} of {count} <span className="quiet">of {loop}</span>
      </span>
      <input
        type="range" min={1} max={count} value={index + 1} aria-valuetext={`step ${index + 1} of ${count}`}
        onChange={(event) => go(loop, Number(event.target.value) - 1)}
      />
    </label>
  );
}

type FoundProps = { name: string; inspected: Inspected; found: Found; looked: Looked; calls: ReadonlyMap<string, Call> };

function FoundValue({ name, inspected, found, looked, calls }: FoundProps) {
  if (found.kind === "list") return <Items of={found.of} calls={calls} looked={looked} />;
  if (found.kind === "call") return <CallValue name={name} inspected={inspected} found={found} looked={looked} calls={calls} />;
  if (found.kind === "unknown") return <NotThere words={found.why} asked={requestFor(looked, inspected, found)} active={looked.active} />;
  const value = given(looked, found);
  return value === undefined ? <p className="quiet">The input {found.kind === "input" ? found.name : ""} has no value yet.</p> : <PlainValue value={value} />;
}

function CallValue({ name, inspected, found, looked, calls }: FoundProps & { found: Found & { kind: "call" } }) {
  const call = calls.get(found.call);
  const key = keyOf(found, calls);
  const there = call?.there ?? false;
  return (
    <>
      <p className="quiet">Made by {found.call}{standing(call)}</p>
      {key !== "" && <KeyRow name={found.call} keyText={key} there={there} />}
      {there ? (
        <ValueCard key={key} name={name} keyText={key} item={found.item} />
      ) : (
        <NotThere words="The cache does not have it." asked={requestFor(looked, inspected, found)} active={looked.active} />
      )}
    </>
  );
}

function standing(call: Call | undefined): string {
  if (call?.there !== true) return "";
  return call.cached ? ", from the cache." : ", in this run.";
}

function NotThere({ words, asked, active }: { words: string; asked: Asked | null; active: boolean }) {
  const alone = useAlone();
  if (active) return <p className="quiet">Not computed yet; the workflow runs.</p>;
  return (
    <>
      <div className="row spread">
        <p className="quiet">{words}</p>
        {asked && (
          <button disabled={alone.working} onClick={() => alone.start(asked)} title="Runs what this value needs, and nothing else">
            {alone.working ? "Computing…" : "Compute it"}
          </button>
        )}
      </div>
      {alone.words !== "" && <p className="bad">{alone.words}</p>}
    </>
  );
}

function KeyRow({ name, keyText, there }: { name: string; keyText: string; there: boolean }) {
  const say = useStore((state) => state.say);
  const setPin = usePlace((state) => state.setPin);
  const copy = () => {
    navigator.clipboard.writeText(keyText).then(
      () => say("info", "The key is copied."),
      () => say("error", `The browser does not let the page copy. The key is ${keyText}`),
    );
  };
  return (
    <div className="key-row">
      <span className="quiet">key</span>
      <code title={keyText}>{keyText}</code>
      <button className="plain" onClick={copy}>Copy</button>
      {there && (
        <button className="plain" onClick={() => setPin({ label: name, key: keyText })} title="Keep it here, to compare others with it">
          Pin
        </button>
      )}
    </div>
  );
}

/** The values of all iterations; each leads to its step. */
function Items({ of, calls, looked }: { of: readonly Found[]; calls: ReadonlyMap<string, Call>; looked: Looked }) {
  const go = usePlace((state) => state.go);
  const inspect = useStore((state) => state.inspect);
  const open = (found: Found & { kind: "call" }) => {
    for (const match of found.call.matchAll(/\[(\d+)\]/g)) go(found.call.slice(0, match.index).replace(/\[\d+\]/g, ""), Number(match[1]));
    inspect(found.path, found.output || "output");
  };
  return (
    <>
      <p className="quiet">A list of {of.length}, one of each step.</p>
      <div className="items">
        {of.map((found, index) =>
          found.kind === "call" ? (
            <button key={index} onClick={() => open(found)} aria-label={`Item ${index + 1}`}>
              <Picture urls={calls.get(found.call)?.there ? [api.previewUrl(keyOf(found, calls))] : []} alt="" />
              {index + 1}
            </button>
          ) : (
            <span key={index}>{JSON.stringify(given(looked, found) ?? null)}</span>
          ),
        )}
      </div>
    </>
  );
}

function Pinned() {
  const pin = usePlace((state) => state.pin);
  const setPin = usePlace((state) => state.setPin);
  if (pin === null) return null;
  return (
    <section className="pinned inspector" aria-label="Pinned value">
      <div className="row spread">
        <h3>Pinned: {pin.label}</h3>
        <button className="plain" onClick={() => setPin(null)}>
          Unpin
        </button>
      </div>
      <ValueCard name={pin.label} keyText={pin.key} item={null} />
    </section>
  );
}
