import { useState } from "react";
import { Modal } from "../parts/Modal";
import { moment } from "../parts/words";
import { CompareFacts } from "./CompareFacts";
import { DifferenceView } from "./DifferenceView";
import { SideBySide } from "./SideBySide";
import { WipeView } from "./WipeView";
import { captionOf } from "./PictureCard";
import type { Picture } from "./pictures";
import "./run.css";

export type Pair = readonly [Picture, Picture];

const VIEWS = { wipe: "Wipe", beside: "Side by side", difference: "Difference × 4" } as const;
const SHOWN = { wipe: WipeView, beside: SideBySide, difference: DifferenceView };

/** Two pictures and what made them, side by side. */
export default function CompareDialog({ about }: { about: unknown }) {
  const [swapped, setSwapped] = useState(false);
  const [view, setView] = useState<keyof typeof VIEWS>("wipe");
  const given = (about as { pictures: Pair }).pictures;
  const pair: Pair = swapped ? [given[1], given[0]] : given;
  const View = SHOWN[view];
  return (
    <Modal title="Compare two runs" wide>
      <div className="column run-compare">
        <div className="row spread">
          <div className="row" role="group" aria-label="How to compare">
            {Object.entries(VIEWS).map(([name, title]) => (
              <button key={name} aria-pressed={name === view} onClick={() => setView(name as keyof typeof VIEWS)}>
                {title}
              </button>
            ))}
          </div>
          <button onClick={() => setSwapped(!swapped)}>⇄ Swap A and B</button>
        </div>
        <div className="row run-compare-names">
          {pair.map((picture, at) => (
            <p key={at} className="grow">
              <b>{"AB"[at]}</b> {captionOf(picture.job)}{" "}
              <span className="quiet">{moment(picture.job.finished ?? picture.job.created)}</span>
            </p>
          ))}
        </div>
        <View pair={pair} />
        <CompareFacts pair={pair} />
      </div>
    </Modal>
  );
}
