import { type RefObject, useEffect, useRef, useState } from "react";
import { api } from "../api/client";
import type { Job } from "../api/types";
import { Popup } from "./Popup";
import type { StoredFile } from "./stored";

type Given = { anchor: RefObject<HTMLElement | null>; onPick(file: StoredFile): void; onClose(): void };

const MOST_JOBS = 40;

/** The pictures that jobs made, newest first. */
function picturesOf(jobs: readonly Job[]): { file: StoredFile; words: string }[] {
  const found = jobs.flatMap((job) =>
    Object.values(job.result ?? {}).flatMap((value) =>
      value.files
        .filter((file) => file.media_type.startsWith("image/"))
        .map((file) => ({ file, words: wordsFor(job) })),
    ),
  );
  return [...new Map(found.map((one) => [one.file.id, one])).values()];
}

function wordsFor(job: Job): string {
  const prompt = job.inputs.prompt;
  return typeof prompt === "string" && prompt ? `${job.workflow}: ${prompt}` : job.workflow;
}

/** Pictures of earlier runs to choose one from. */
export function GalleryPick({ anchor, onPick, onClose }: Given) {
  const [pictures, setPictures] = useState<ReturnType<typeof picturesOf> | null>(null);
  const [trouble, setTrouble] = useState("");
  const grid = useRef<HTMLDivElement>(null);
  useEffect(() => {
    api.jobs({ state: "succeeded", limit: MOST_JOBS }).then(
      ({ jobs }) => setPictures(picturesOf(jobs)),
      (problem: unknown) => setTrouble(problem instanceof Error ? problem.message : String(problem)),
    );
  }, []);
  useEffect(() => grid.current?.querySelector("button")?.focus(), [pictures]);
  return (
    <Popup anchor={anchor} role="dialog" label="Pictures of earlier runs" onClose={onClose}>
      <div
        ref={grid}
        className="field-gallery"
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          event.stopPropagation();
          onClose();
        }}
      >
        {trouble && <p className="bad">{trouble}</p>}
        {!trouble && pictures === null && <p className="quiet">One moment…</p>}
        {pictures?.length === 0 && <p className="quiet">No run has made a picture yet.</p>}
        {pictures?.map(({ file, words }) => (
          <button
            key={file.id}
            className="plain"
            title={words}
            onClick={() => {
              onPick(file);
              onClose();
            }}
          >
            <img src={api.fileUrl(file.id)} alt={words} loading="lazy" />
          </button>
        ))}
      </div>
    </Popup>
  );
}
