import { type KeyboardEvent, useEffect, useMemo } from "react";
import { type Loop, findLoops } from "../graph/loops";
import { useStore } from "../state/store";
import { rootDoc } from "../state/documents";
import { useCalls } from "./calls";
import { branchHere } from "./commands";
import { useDecoded } from "./decoded";
import { type Looked, useLooked } from "./looked";
import { usePlace } from "./place";
import { Player } from "./Player";
import { type Instance, countOf, instancesOf, nameOf, stepsOf } from "./steps";
import { StepValues } from "./StepValues";
import { Strip } from "./Strip";
import { useTimesteps } from "./timesteps";
import { shownSteps } from "./shown";
import { totalsOf } from "../graph/origin";
import { Picture } from "./Picture";
import "./loop.css";

/** The denoising steps of a run: each with its picture, to go through, to look into, to branch from. */
export default function TimelinePanel() {
  const looked = useLooked();
  const types = useStore((state) => state.checks[rootDoc(state)?.name ?? ""]?.types);
  const loops = useMemo(() => (looked ? findLoops(looked.root, looked.files, types) : []), [looked, types]);
  const { calls } = useCalls(looked);
  const instances = useMemo(() => loops.flatMap((loop) => instancesOf(loop, calls.keys())), [loops, calls]);
  const chosen = usePlace((state) => state.loop);
  const instance = instances.find((one) => nameOf(one) === chosen) ?? mostDone(instances, calls) ?? instances[0];
  if (looked === null || instance === undefined) {
    return <p className="timeline-none quiet">This workflow has no denoising loop: no loop carries latents from step to step.</p>;
  }
  return (
    <div className="timeline">
      {instances.length > 1 && <Loops instances={instances} shown={instance} />}
      <Timeline key={nameOf(instance)} looked={looked} instance={instance} />
    </div>
  );
}

/** Of several loops, the first of which something is there: the others may be switched off. */
function mostDone(instances: readonly Instance[], calls: ReadonlyMap<string, { there: boolean }>): Instance | undefined {
  const begun = [...calls].filter(([, call]) => call.there).map(([name]) => name.replace(/\[\d+\]/g, ""));
  return instances.find(({ loop }) => begun.some((path) => path.startsWith(`${loop.path}.`)));
}

function Loops({ instances, shown }: { instances: readonly Instance[]; shown: Instance }) {
  const setLoop = usePlace((state) => state.setLoop);
  return (
    <div className="panel-tabs" role="group" aria-label="Loops of this workflow">
      {instances.map((one) => (
        <button key={nameOf(one)} className="plain" aria-pressed={one === shown} onClick={() => setLoop(nameOf(one))}>
          {nameOf(one)}
        </button>
      ))}
    </div>
  );
}

function Timeline({ looked, instance }: { looked: Looked; instance: Instance }) {
  const { calls, totals, problem } = useCalls(looked);
  const catalog = useStore((state) => state.catalog);
  const count = countOf(instance, { ...totalsOf(calls.keys()), ...totals });
  const steps = useMemo(() => stepsOf(instance, count, calls, catalog), [instance, count, calls, catalog]);
  const done = steps.findIndex((step) => !step.done);
  const ready = done < 0 ? count : done;
  const shown = usePlace((state) => state.shown);
  const decoded = useDecoded(looked, instance.loop, shown, ready, ready === count);
  const timesteps = useTimesteps(looked, instance, calls);
  const pictured = shownSteps(steps, instance, decoded, looked, timesteps);
  const [index, setIndex] = useStep(instance.loop, count, (ready || count) - 1);
  useShownStep(instance, index, count);
  const step = pictured[index];
  if (step === undefined) return <NoSteps looked={looked} problem={problem} />;
  return (
    <div className="timeline-body" onKeyDown={(event) => keys(event, index, setIndex)}>
      <Picture urls={step.urls} alt={`Step ${index + 1} of ${count}`} className="timeline-picture" />
      <div className="timeline-right">
        <Player steps={pictured} index={index} setIndex={setIndex} decoded={decoded} onBranch={branchHere} />
        <Strip steps={pictured} index={index} setIndex={setIndex} />
        <StepValues looked={looked} instance={instance} index={index} />
      </div>
    </div>
  );
}

function NoSteps({ looked, problem }: { looked: Looked; problem: string }) {
  const words = looked.active ? "The steps come as they are made." : "Run the workflow, and its steps are here.";
  return <p className="timeline-none quiet">{problem === "" ? words : `The steps are not known: ${problem}`}</p>;
}

/** The chosen step of a loop: the last that is done, as long as nobody chose. */
function useStep(loop: Loop, count: number, last: number): [number, (index: number) => void] {
  const chosen = usePlace((state) => state.at[loop.path]);
  const go = usePlace((state) => state.go);
  const index = Math.max(0, Math.min(chosen ?? last, count - 1));
  return [index, (next) => go(loop.path, Math.max(0, Math.min(next, count - 1)))];
}

/** Lets commands know which step is shown. */
function useShownStep(instance: Instance, index: number, count: number): void {
  const setStep = usePlace((state) => state.setStep);
  useEffect(() => {
    const { loop, outer } = instance;
    setStep(count > 0 ? { loop: loop.path, name: nameOf(instance), outer, index, count } : null);
    return () => setStep(null);
  }, [instance, index, count, setStep]);
}

function keys(event: KeyboardEvent, index: number, go: (index: number) => void): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key.toLowerCase() === "b") branchHere();
  else if (event.target instanceof HTMLInputElement) return;
  else if (event.key === "ArrowLeft") go(index - 1);
  else if (event.key === "ArrowRight") go(index + 1);
  else if (event.key === "Home") go(0);
  else if (event.key === "End") go(Number.MAX_SAFE_INTEGER);
  else return;
  event.preventDefault();
}
