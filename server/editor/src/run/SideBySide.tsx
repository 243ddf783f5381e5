import { api } from "../api/client";
import type { Pair } from "./CompareDialog";
import { captionOf } from "./PictureCard";

export function SideBySide({ pair }: { pair: Pair }) {
  return (
    <div className="run-beside">
      {pair.map((picture, at) => (
        <figure key={at}>
          <img src={api.fileUrl(picture.file)} alt={`${"AB"[at]}: ${captionOf(picture.job)}`} />
          <figcaption>{"AB"[at]}</figcaption>
        </figure>
      ))}
    </div>
  );
}
