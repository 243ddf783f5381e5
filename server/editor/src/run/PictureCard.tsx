import { api } from "../api/client";
import type { Job } from "../api/types";
import type { Json } from "../document/syntax";
import { moment, seconds } from "../parts/words";
import { useStore } from "../state/store";
import { ownInputs, seedOf, shortValue } from "./inputs";
import { type Picture, choose } from "./pictures";

/** A small picture of the gallery, with what it was made from. */
export function PictureCard({ picture, chosen }: { picture: Picture; chosen: boolean }) {
  const { job, file } = picture;
  const openDialog = useStore((state) => state.openDialog);
  const declared = useStore((state) => state.workflows.find((one) => one.name === job.workflow)?.inputs);
  const seed = seedOf(job, declared);
  const name = captionOf(job);
  return (
    <li className="run-card">
      <button
        className="plain run-card-picture"
        aria-label={`Show the picture: ${name}`}
        onClick={() => openDialog("picture", { file })}
      >
        <img src={api.fileUrl(file)} alt={name} loading="lazy" decoding="async" />
      </button>
      <label className="run-card-choice" title="Choose it to compare">
        <input
          type="checkbox"
          aria-label={`Compare: ${name}`}
          checked={chosen}
          onChange={(event) => choose(picture, event.target.checked)}
        />
      </label>
      <div className="run-card-words">
        <b className="run-card-line">{job.workflow}</b>
        <span className="quiet run-card-line">
          {[seed !== undefined && `seed ${shortValue(seed)}`, tookOf(job)].filter(Boolean).join(" · ")}
        </span>
        <span
          className="quiet run-card-line"
          title={ownInputs(job, declared)
            .map(([input, value]) => `${input}: ${shortValue(value)}`)
            .join("\n")}
        >
          {wordsFor(ownInputs(job, declared)) || "as the workflow is"}
        </span>
        <span className="quiet run-card-line">{moment(job.finished ?? job.created)}</span>
      </div>
    </li>
  );
}

/** The prompt as it stands, other inputs with their names; the seed has its own place. */
function wordsFor(inputs: [string, Json][]): string {
  const { prompt, seed: _, ...others } = Object.fromEntries(inputs);
  const named = Object.entries(others).map(([name, value]) => `${name} ${shortValue(value)}`);
  return [...(prompt === undefined ? [] : [shortValue(prompt)]), ...named].join(" · ");
}

export function captionOf(job: Job): string {
  const { prompt } = job.inputs;
  return typeof prompt === "string" && prompt !== "" ? `${job.workflow}, ${prompt}` : job.workflow;
}

export function tookOf(job: Job): string {
  return job.started !== null && job.finished !== null ? seconds(job.finished - job.started) : "";
}
