import { useId } from "react";
import { beginsHere } from "./focus";

type Given = {
  value: string;
  /** What is wrong with the name; empty where nothing is. */
  wrong: string;
  /** What comes of the name, where nothing is wrong with it. */
  hint: string;
  onChange(value: string): void;
};

/** The name of a file: the dialog begins in it, and what is said of the name stands below it. */
export function NameField({ value, wrong, hint, onChange }: Given) {
  const id = useId();
  return (
    <>
      <label htmlFor={id}>Name</label>
      <input
        id={id}
        value={value}
        ref={beginsHere}
        spellCheck={false}
        autoComplete="off"
        aria-invalid={wrong !== ""}
        aria-describedby={`${id}-said`}
        onFocus={(event) => event.target.select()}
        onChange={(event) => onChange(event.target.value)}
      />
      <p id={`${id}-said`} role="status" className={wrong ? "bad" : "quiet"}>
        {wrong || hint}
      </p>
    </>
  );
}
