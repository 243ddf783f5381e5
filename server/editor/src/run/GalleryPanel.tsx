import { useCallback } from "react";
import { useStore } from "../state/store";
import { PictureCard } from "./PictureCard";
import { type Picture, keyOf, loadOlderPictures, loadPictures, useGallery } from "./pictures";
import { useRefresh } from "./useRefresh";
import "./run.css";

const REFRESH_MILLISECONDS = 5000;

/** The pictures that were made, newest first. Two of them can be compared. */
export default function GalleryPanel() {
  useRefresh(
    useCallback(() => void loadPictures(), []),
    REFRESH_MILLISECONDS,
  );
  const { pictures, older, loaded, problem, chosen } = useGallery();
  if (!loaded) return problem ? <p className="bad">{problem}</p> : <p className="quiet">One moment…</p>;
  if (pictures.length === 0 && older === null)
    return <p className="quiet">No picture yet. Ctrl+Enter runs the workflow.</p>;
  return (
    <div className="column">
      {problem && <p className="bad">{problem}</p>}
      <CompareBar chosen={pictures.filter((picture) => chosen.includes(keyOf(picture)))} />
      <ul className="run-gallery" aria-label="Pictures, newest first">
        {pictures.map((picture) => (
          <PictureCard key={keyOf(picture)} picture={picture} chosen={chosen.includes(keyOf(picture))} />
        ))}
      </ul>
      {older !== null && <button onClick={() => void loadOlderPictures()}>Older pictures</button>}
    </div>
  );
}

function CompareBar({ chosen }: { chosen: readonly Picture[] }) {
  const openDialog = useStore((state) => state.openDialog);
  return (
    <div className="run-compare-bar row spread">
      <span className="quiet">
        {["Choose two pictures to compare.", "Choose one more to compare.", "Two chosen."][chosen.length]}
      </span>
      <span className="row">
        {chosen.length > 0 && (
          <button className="plain" onClick={() => useGallery.setState({ chosen: [] })}>
            Clear
          </button>
        )}
        <button disabled={chosen.length < 2} onClick={() => openDialog("compare", { pictures: chosen.toReversed() })}>
          Compare
        </button>
      </span>
    </div>
  );
}
