import { useId } from "react";
import { api } from "../api/client";
import type { TensorNumbers, ValueView } from "../api/types";
import type { Json } from "../document/syntax";
import { Histogram, shortNumber } from "./Histogram";
import { Picture } from "./Picture";
import { useRead } from "./value";

/** What is under a key: its picture, its words, its numbers. */
export function ValueCard({ name, keyText, item }: { name: string; keyText: string; item: number | null }) {
  const read = useRead(keyText);
  if (read.state === "reading") return <p className="quiet">One moment…</p>;
  if (read.state === "missing") return <p className="quiet">The cache has forgotten it. Run the workflow again to see it.</p>;
  if (read.state === "problem") return <p className="bad">The value cannot be read: {read.words}</p>;
  const { output } = read;
  const tensors = Object.entries(output.tensors ?? {});
  return (
    <>
      {item !== null && <Item output={output} index={item} />}
      {tensors.length > 0 && <Picture urls={[api.previewUrl(keyText)]} alt={`${name}, as a picture`} className="inspector-picture" />}
      <Plain output={output} />
      {tensors.map(([place, numbers]) => (
        <Tensor key={place} place={place} numbers={numbers} />
      ))}
    </>
  );
}

/** The item of this iteration, where its list holds numbers that are told one by one. */
function Item({ output, index }: { output: ValueView["outputs"][number]; index: number }) {
  const values = Object.values(output.tensors ?? {})[0]?.values;
  const value = values?.[index];
  if (value === undefined) return <p className="quiet">Item {index + 1} of this list:</p>;
  return (
    <p>
      Item {index + 1} of {values!.length}: <b>{shortNumber(value)}</b>
    </p>
  );
}

function Plain({ output }: { output: ValueView["outputs"][number] }) {
  const { words, ...fields } = (output.fields ?? {}) as Record<string, Json>;
  const shown = Object.entries(fields).filter(([, value]) => value !== null && !(Array.isArray(value) && value.length === 0));
  return (
    <>
      {output.value !== undefined && output.value !== null && <PlainValue value={output.value} />}
      {Array.isArray(words) && <Words words={words.map(String)} />}
      {shown.length > 0 && (
        <table className="numbers">
          <tbody>
            {shown.map(([name, value]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{typeof value === "string" ? value : JSON.stringify(value)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </>
  );
}

export function PlainValue({ value }: { value: Json }) {
  return <pre className="long-text">{typeof value === "string" ? value : JSON.stringify(value, null, 1)}</pre>;
}

function Words({ words }: { words: readonly string[] }) {
  const heading = useId();
  return (
    <section aria-labelledby={heading}>
      <h3 id={heading}>{words.length} tokens</h3>
      <div className="words">
        {words.map((word, at) => (
          <span key={at}>{word}</span>
        ))}
      </div>
    </section>
  );
}

function Tensor({ place, numbers }: { place: string; numbers: TensorNumbers }) {
  const heading = useId();
  const rows = [
    ["shape", numbers.shape.join(" × ") || "a single number"], ["dtype", numbers.dtype], ["min", told(numbers.min)], ["max", told(numbers.max)],
    ["mean", told(numbers.mean)], ["std", told(numbers.std)], ["not finite", numbers.not_finite ? String(numbers.not_finite) : ""],
    ["values", numbers.values?.map(shortNumber).join(", ") ?? ""],
  ].filter(([, text]) => text !== ""); // prettier-ignore
  return (
    <section className="tensor" aria-labelledby={heading}>
      <h3 id={heading}>{place === "value" ? "Tensor" : place}</h3>
      <table className="numbers">
        <tbody>
          {rows.map(([name, text]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{text}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {numbers.histogram && <Histogram numbers={numbers} />}
    </section>
  );
}

function told(value: number | undefined): string {
  return value === undefined ? "" : shortNumber(value);
}
