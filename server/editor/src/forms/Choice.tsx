import type { Json } from "../document/syntax";
import { Combobox } from "./Combobox";
import type { ControlProps } from "./Field";
import type { Control } from "./control";
import { written } from "./parse";

/** From how many options on they can be searched. */
const MANY = 12;

/** One of several values: a list to drop down, or one to search where they are many. */
export function Choice({ control, field, shown, aria }: ControlProps & { control: Control & { kind: "choice" } }) {
  const options: readonly Json[] = control.nullable ? [null, ...control.options] : control.options;
  const choose = (text: string) => field.onChange(options.find((one) => wordFor(one) === text));
  if (options.length > MANY) {
    const offers = options.map((one) => ({ value: wordFor(one) }));
    return <Combobox aria={aria} text={wordFor(shown)} offers={offers} free={false} onChoose={choose} />;
  }
  const strange = !options.some((one) => wordFor(one) === wordFor(shown));
  return (
    <select {...aria} value={wordFor(shown)} onChange={(event) => choose(event.target.value)}>
      {strange && <option disabled>{wordFor(shown)}</option>}
      {options.map((one) => (
        <option key={wordFor(one)}>{wordFor(one)}</option>
      ))}
    </select>
  );
}

/** An option as people read it. */
function wordFor(option: Json | undefined): string {
  if (option === undefined) return "";
  if (option === null) return "none";
  return typeof option === "boolean" ? (option ? "yes" : "no") : written(option);
}
