import { useEffect, useState } from "react";
import { api } from "../api/client";
import { Modal } from "../parts/Modal";
import { useStore } from "../state/store";
import { Mask } from "./mask";
import type { MaskAbout } from "./masks";
import { MaskPainter } from "./MaskPainter";
import { loadMask, loadPicture, pngOf } from "./pixels";

/** The size of the sheet where there is no picture to paint on. */
const EMPTY = { width: 512, height: 512 };

type Sheet = { picture: HTMLImageElement | null; mask: Mask; missing: string };

/** Paints a mask on a picture, keeps it on the server, and hands it on. */
export default function MaskDialog({ about }: { about: unknown }) {
  const { title, picture, mask, onDone } = about as MaskAbout;
  const close = useStore((state) => state.closeDialog);
  const [sheet, setSheet] = useState<Sheet | null>(null);
  const [trouble, setTrouble] = useState("");
  const [busy, setBusy] = useState(false);
  const [leaving, setLeaving] = useState(false);
  useEffect(() => {
    void prepare(picture, mask).then(setSheet);
  }, [picture, mask]);
  const done = async () => {
    if (sheet === null) return;
    setBusy(true);
    setTrouble("");
    try {
      onDone(await api.upload(await pngOf(sheet.mask), "mask.png"));
      close();
    } catch (problem) {
      setTrouble(`The mask was not kept: ${problem instanceof Error ? problem.message : String(problem)}`);
      setBusy(false);
    }
  };
  // What was painted is thrown away by a word only; a second Escape goes on painting.
  const mayClose = () => {
    if (!sheet?.mask.undoable) return true;
    setLeaving(!leaving);
    return false;
  };
  return (
    <Modal title={title} wide mayClose={mayClose}>
      {sheet === null ? (
        <p className="quiet">One moment…</p>
      ) : (
        <div className="column">
          {sheet.missing && <p className="quiet">{sheet.missing}</p>}
          <MaskPainter picture={sheet.picture} mask={sheet.mask} />
          {trouble && (
            <p className="bad" role="alert">
              {trouble}
            </p>
          )}
          <div className="row spread">
            {leaving ? (
              <div className="row" role="alert">
                What you painted would be lost.
                <button onClick={close}>Throw it away</button>
                <button onClick={() => setLeaving(false)}>Go on painting</button>
              </div>
            ) : (
              <button onClick={() => mayClose() && close()}>Cancel</button>
            )}
            <button className="primary" disabled={busy} onClick={() => void done()}>
              {busy ? "Keeping it…" : "Use this mask"}
            </button>
          </div>
        </div>
      )}
    </Modal>
  );
}

/** The picture, and the mask to begin with at its size; an empty sheet where the picture cannot be had. */
async function prepare(picture: MaskAbout["picture"], mask: MaskAbout["mask"]): Promise<Sheet> {
  const found = await loadPicture(picture);
  const size = found ? { width: found.naturalWidth, height: found.naturalHeight } : EMPTY;
  const missing = found
    ? ""
    : "The picture cannot be shown here, so this is an empty sheet. Upload the picture to paint on it.";
  return { picture: found, mask: new Mask(size, await loadMask(mask, size)), missing };
}
