import { useEffect, useRef } from "react";
import { seconds } from "../parts/words";
import { Picture } from "./Picture";
import { type ShownStep, timestepText } from "./shown";

type Props = { steps: readonly ShownStep[]; index: number; setIndex(index: number): void };

/** All steps side by side. */
export function Strip({ steps, index, setIndex }: Props) {
  const list = useRef<HTMLOListElement>(null);
  useEffect(() => {
    const item = list.current?.children[index] as HTMLElement | undefined;
    const box = list.current;
    if (!item || !box) return;
    if (box.contains(document.activeElement)) item.querySelector("button")?.focus({ preventScroll: true });
    const [left, right] = [item.offsetLeft - box.offsetLeft, item.offsetLeft - box.offsetLeft + item.offsetWidth];
    if (left < box.scrollLeft) box.scrollLeft = left;
    else if (right > box.scrollLeft + box.clientWidth) box.scrollLeft = right - box.clientWidth;
  }, [index]);
  return (
    <ol className="strip" ref={list} aria-label="Steps">
      {steps.map((step) => (
        <li key={step.index}>
          <button
            className={`strip-step ${step.done ? "" : "waiting"}`}
            aria-current={step.index === index ? "step" : undefined}
            tabIndex={step.index === index ? 0 : -1}
            onClick={() => setIndex(step.index)}
          >
            <Picture urls={step.urls} alt="" className="strip-picture" />
            <span className="hidden-text">{labelOf(step, steps.length)}</span>
            <span className="strip-number" aria-hidden="true">{step.index + 1}</span>
            <span className="strip-words quiet" aria-hidden="true">{step.timestep === null ? "" : `t ${timestepText(step.timestep)}`}</span>
            <span className="strip-words quiet" aria-hidden="true">{timeOf(step)}</span>
          </button>
        </li>
      ))}
    </ol>
  );
}

function labelOf(step: ShownStep, count: number): string {
  const state = !step.done ? "not done" : step.cached ? "from the cache" : step.seconds === null ? "" : seconds(step.seconds);
  const timestep = step.timestep === null ? "" : `timestep ${timestepText(step.timestep)}`;
  return [`Step ${step.index + 1} of ${count}`, timestep, state].filter(Boolean).join(", ");
}

function timeOf(step: ShownStep): string {
  if (!step.done) return "";
  return step.cached ? "cached" : step.seconds === null ? "" : seconds(step.seconds);
}
