import { useEffect, useState } from "react";
import { seconds } from "../parts/words";
import type { Decoded } from "./decoded";
import { usePlace } from "./place";
import { type ShownStep, timestepText } from "./shown";

const STEP_MILLISECONDS = 220;

type Props = {
  steps: readonly ShownStep[];
  index: number;
  setIndex(index: number): void;
  decoded: Decoded;
  onBranch(): void;
};

/** Going through the steps: a slider, and play. */
export function Player({ steps, index, setIndex, decoded, onBranch }: Props) {
  const step = steps[index]!;
  const count = steps.length;
  return (
    <div className="player">
      <Play index={index} count={count} setIndex={setIndex} />
      <input
        type="range" min={1} max={count} value={index + 1} aria-label="Step"
        aria-valuetext={`step ${index + 1} of ${count}${step.timestep === null ? "" : `, timestep ${timestepText(step.timestep)}`}`}
        onChange={(event) => setIndex(Number(event.target.value) - 1)}
      />
      <p className="player-words" role="status">
        <b>
          Step {index + 1} of {count}
        </b>
        <span className="quiet">{standing(step)}</span>
      </p>
      <ShownChoice />
      <button onClick={onBranch} title="Change something from here on; only the later steps run (B)">
        Branch from here…
      </button>
      <p className="player-note quiet" role="status">{note(decoded, step)}</p>
    </div>
  );
}

function Play({ index, count, setIndex }: Pick<Props, "index" | "setIndex"> & { count: number }) {
  const [playing, setPlaying] = useState(false);
  useEffect(() => {
    if (!playing) return;
    const timer = setTimeout(() => (index + 1 < count ? setIndex(index + 1) : setPlaying(false)), STEP_MILLISECONDS);
    return () => clearTimeout(timer);
  }, [playing, index, count, setIndex]);
  const start = () => {
    if (!playing && index + 1 >= count) setIndex(0);
    setPlaying(!playing);
  };
  return (
    <button className="icon" aria-label={playing ? "Pause" : "Play the steps"} aria-pressed={playing} onClick={start}>
      <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" fill="currentColor">
        {playing ? <path d="M3 2h4v12H3zM9 2h4v12H9z" /> : <path d="M3 1.5v13l11-6.5z" />}
      </svg>
    </button>
  );
}

function ShownChoice() {
  const shown = usePlace((state) => state.shown);
  const show = usePlace((state) => state.show);
  return (
    <div className="row segments" role="group" aria-label="What is shown of each step">
      <button aria-pressed={shown === "originals"} onClick={() => show("originals")} title="The picture that the step foresees (x0-hat)">
        Predicted picture
      </button>
      <button aria-pressed={shown === "latents"} onClick={() => show("latents")} title="The latents after the step, with the noise that is still in them">
        Latents as they are
      </button>
    </div>
  );
}

function standing(step: ShownStep): string {
  const timestep = step.timestep === null ? "" : `timestep ${timestepText(step.timestep)}`;
  const time = step.seconds === null ? "" : seconds(step.seconds);
  const state = !step.done ? "not done" : step.cached ? "from the cache" : "";
  return [timestep, time, state].filter(Boolean).join(" · ");
}

/** What the picture is, where it is not what was asked for. */
function note(decoded: Decoded, step: ShownStep): string {
  if (decoded.words !== "") return decoded.words;
  if (step.decoded || !step.done) return "";
  return decoded.working ? "The steps are being decoded; until then, false colours of the latents." : "False colours of the latents.";
}
