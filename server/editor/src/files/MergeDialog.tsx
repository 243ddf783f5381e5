import { useState } from "react";
import type { Conflict } from "../document/merge";
import type { Json } from "../document/syntax";
import { Modal } from "../parts/Modal";
import { useStore } from "../state/store";
import { useClashes } from "./clashes";
import { decide } from "./disk";
import { beginsHere } from "./focus";
import type { Choice, Clash } from "./reconcile";

/** Asks, place by place, which of two changes shall stay. Until it is answered, both stay. */
export default function MergeDialog({ about }: { about: unknown }) {
  const { name } = about as { name: string };
  const clash = useClashes((state) => state.clashes[name]);
  if (clash === undefined) return <Settled name={name} />;
  return <Decisions key={clash.stored.version} clash={clash} />;
}

function Settled({ name }: { name: string }) {
  return (
    <Modal title={`“${name}” on the disk`}>
      <p>There is nothing to decide any more.</p>
    </Modal>
  );
}

/** It may open while somebody types: the keys that still come go to a button that decides nothing. */
function Decisions({ clash }: { clash: Clash }) {
  const [choices, setChoices] = useState<readonly Choice[]>(() => clash.conflicts.map(() => "mine"));
  const closeDialog = useStore((state) => state.closeDialog);
  const apply = () => {
    decide(clash, choices);
    closeDialog();
  };
  return (
    <Modal title={`“${clash.name}” was changed on the disk too`} wide>
      <div className="column">
        <p>
          Both changes are kept so far: yours on this page, the other one on the disk. What is different elsewhere is merged; here the
          same place was changed in two ways. Choose what shall stay; nothing is saved by this.
        </p>
        <div className="row">
          <button ref={beginsHere} onClick={() => setChoices(clash.conflicts.map(() => "mine"))}>
            All mine
          </button>
          <button onClick={() => setChoices(clash.conflicts.map(() => "theirs"))}>All from the disk</button>
        </div>
        <ul className="merge-list">
          {clash.conflicts.map((conflict, at) => (
            <li key={conflict.path.join("/")}>
              <OneConflict conflict={conflict} choice={choices[at]!} choose={(choice) => setChoices(choices.with(at, choice))} />
            </li>
          ))}
        </ul>
        <div className="row dialog-buttons">
          <button className="primary" onClick={apply}>
            Merge
          </button>
          <button onClick={closeDialog}>Decide later</button>
        </div>
      </div>
    </Modal>
  );
}

type Given = { conflict: Conflict; choice: Choice; choose(choice: Choice): void };

function OneConflict({ conflict, choice, choose }: Given) {
  const place = conflict.path.join(" › ");
  return (
    <fieldset className="merge-one">
      <legend>
        {place} <span className="quiet">was {words(conflict.base)}</span>
      </legend>
      {(["mine", "theirs"] as const).map((side) => (
        <label key={side} className={choice === side ? "merge-side chosen" : "merge-side"}>
          <span className="row">
            <input type="radio" name={place} checked={choice === side} onChange={() => choose(side)} />
            {side === "mine" ? "Mine, on this page" : "On the disk"}
          </span>
          <pre>{words(conflict[side])}</pre>
        </label>
      ))}
    </fieldset>
  );
}

function words(value: Json | undefined): string {
  return value === undefined ? "(not there)" : JSON.stringify(value, null, 2);
}
