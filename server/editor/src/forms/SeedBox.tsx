import { randomSeed, setLocked, useUnlocked } from "../state/seeds";
import { Dice, LockClosed, LockOpen } from "./icons";
import type { ControlProps } from "./Field";
import { NumberBox } from "./NumberBox";
import type { NumberControl } from "./control";

/** A seed: its number, a throw of the dice, and a lock. */
export function SeedBox({ control, ...given }: ControlProps & { control: NumberControl }) {
  const { field } = given;
  return (
    <div className="field-seed">
      <NumberBox {...given} control={control} />
      <button
        className="icon"
        aria-label={`New random ${field.name}`}
        title="New random number"
        onClick={() => field.onChange(randomSeed())}
      >
        <Dice />
      </button>
      {field.seed !== undefined && <Lock name={field.name} seed={field.seed} />}
    </div>
  );
}

function Lock({ name, seed }: { name: string; seed: string }) {
  const locked = !useUnlocked((state) => state.seeds.includes(seed));
  const words = locked ? "Locked: each run takes this number" : "Not locked: each run takes a new random number";
  return (
    <button
      className="icon"
      aria-label={`Lock ${name}`}
      aria-pressed={locked}
      title={words}
      onClick={() => setLocked(seed, !locked)}
    >
      {locked ? <LockClosed /> : <LockOpen />}
    </button>
  );
}
