import { api } from "../api/client";
import type { Provenance } from "../document/png";
import { openRecord } from "../state/pictures";
import { useStore } from "../state/store";
import { captionOf } from "./PictureCard";
import { type Picture, choose, keyOf, useGallery } from "./pictures";
import { UseAsInput } from "./UseAsInput";

/** What can be done with a picture. */
export function PictureTools({
  file,
  picture,
  provenance,
}: {
  file: string;
  picture: Picture | undefined;
  provenance: Provenance | null;
}) {
  const { closeDialog, say } = useStore.getState();
  const open = async () => {
    closeDialog();
    await openRecord(provenance!, picture ? captionOf(picture.job) : "the picture").catch((problem: Error) =>
      say("error", problem.message),
    );
  };
  return (
    <div className="column">
      <div className="row run-tools">
        <button className="primary" disabled={provenance === null} onClick={() => void open()}>
          Open its workflow
        </button>
        <a
          className="run-link"
          href={api.fileUrl(file)}
          download={`${picture?.job.workflow ?? "picture"}-${file.slice(0, 8)}.png`}
        >
          Download
        </a>
        {picture && <CompareButton picture={picture} />}
      </div>
      <UseAsInput file={file} />
    </div>
  );
}

/** Chooses the picture to be compared; with one chosen before, compares the two. */
function CompareButton({ picture }: { picture: Picture }) {
  const chosen = useGallery((state) => state.chosen);
  const pictures = useGallery((state) => state.pictures);
  const openDialog = useStore((state) => state.openDialog);
  const other = pictures.find((one) => chosen.includes(keyOf(one)) && keyOf(one) !== keyOf(picture));
  const isChosen = chosen.includes(keyOf(picture));
  if (other)
    return (
      <button onClick={() => openDialog("compare", { pictures: [other, picture] })}>Compare with the chosen one</button>
    );
  return (
    <button aria-pressed={isChosen} onClick={() => choose(picture, !isChosen)}>
      {isChosen ? "Chosen to compare" : "Choose to compare"}
    </button>
  );
}
