import { useEffect, useState } from "react";
import { api } from "../api/client";
import { inField } from "../parts/inField";
import { Modal } from "../parts/Modal";
import { PictureFacts } from "./PictureFacts";
import { PictureTools } from "./PictureTools";
import { captionOf } from "./PictureCard";
import { type Picture, keyOf, loadOlderPictures, loadPictures, useGallery } from "./pictures";
import { useProvenance } from "./useProvenance";
import "./run.css";

/** One picture, large, with all that is known of it. Opened for a file of the server. */
export default function PictureDialog({ about }: { about: unknown }) {
  const { file } = about as { file: string };
  const pictures = useGallery((state) => state.pictures);
  const loaded = useGallery((state) => state.loaded);
  const [key, setKey] = useState<string | null>(null);
  useEffect(() => void loadPictures(), []);
  const at = pictures.findIndex((one) => (key === null ? one.file === file : keyOf(one) === key));
  const picture = pictures[at];
  const move = (step: number) => {
    const next = pictures[at + step];
    if (next) setKey(keyOf(next));
    if (at + step >= pictures.length - 1) void loadOlderIfAny();
  };
  useArrows(move);
  const shown = picture?.file ?? file;
  return (
    <Modal title={picture ? captionOf(picture.job) : "Picture"} wide>
      <div className="run-picture">
        <Shown file={shown} picture={picture} />
        <div className="run-picture-side column">
          <div className="row spread">
            <button disabled={at < 1} aria-keyshortcuts="ArrowLeft" onClick={() => move(-1)}>
              ← Newer
            </button>
            <span className="quiet" role="status">
              {at >= 0 ? `${at + 1} of ${pictures.length}` : loaded ? "of an older run" : ""}
            </span>
            <button
              disabled={at < 0 || at >= pictures.length - 1}
              aria-keyshortcuts="ArrowRight"
              onClick={() => move(1)}
            >
              Older →
            </button>
          </div>
          <Told file={shown} picture={picture} />
        </div>
      </div>
    </Modal>
  );
}

function Shown({ file, picture }: { file: string; picture: Picture | undefined }) {
  return (
    <div className="run-picture-shown">
      <img key={file} src={api.fileUrl(file)} alt={picture ? captionOf(picture.job) : "The picture"} />
    </div>
  );
}

function Told({ file, picture }: { file: string; picture: Picture | undefined }) {
  const { provenance, problem } = useProvenance(file);
  return (
    <>
      <PictureTools file={file} picture={picture} provenance={provenance} />
      {problem && <p className="quiet">{problem}</p>}
      <PictureFacts picture={picture} provenance={provenance} />
    </>
  );
}

async function loadOlderIfAny(): Promise<void> {
  if (useGallery.getState().older !== null) await loadOlderPictures();
}

/** Hears the arrow keys wherever the focus is, but in fields, which have their own use for them. */
function useArrows(move: (step: number) => void): void {
  useEffect(() => {
    const hear = (event: KeyboardEvent) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined || event.ctrlKey || event.altKey || event.metaKey || inField(event.target)) return;
      event.preventDefault();
      move(step);
    };
    window.addEventListener("keydown", hear);
    return () => window.removeEventListener("keydown", hear);
  });
}
