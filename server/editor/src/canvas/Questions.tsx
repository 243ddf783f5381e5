/** Small questions of the canvas: for a name, or for one of a list. */

import { type FormEvent, useEffect, useRef, useState } from "react";
import { canvas, useCanvas } from "./canvasState";
import { Combo } from "./Combo";
import { Popover } from "./Popover";
import "./palette.css";

const closeName = () => canvas.set({ name: null });
const closeChoice = () => canvas.set({ choice: null });

export function Questions() {
  const name = useCanvas((state) => state.name);
  const choice = useCanvas((state) => state.choice);
  return (
    <>
      {name && <NameQuestion key={name.title} />}
      {choice && <ChoiceQuestion key={choice.title} />}
    </>
  );
}

function NameQuestion() {
  const [request] = useState(() => canvas.get().name!);
  const [value, setValue] = useState(request.value);
  const [problem, setProblem] = useState("");
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.select(), []);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await request.submit(value.trim());
      if (canvas.get().name === request) closeName();
    } catch (refused) {
      setProblem((refused as Error).message);
      field.current?.focus();
    }
  };
  return (
    <Popover at={null} label={request.title} className="question" onClose={closeName}>
      <form className="column" onSubmit={(event) => void submit(event)} onKeyDown={(event) => event.key === "Escape" && closeName()}>
        <h2>{request.title}</h2>
        <label className="column">
          {request.label}
          <input
            ref={field} value={value} autoFocus spellCheck={false} aria-invalid={problem !== ""} aria-describedby="name-problem"
            onChange={(event) => (setValue(event.target.value), setProblem(""))}
          />
        </label>
        <p className="bad" id="name-problem" role="alert">
          {problem}
        </p>
        <div className="row">
          <span className="grow" />
          <button type="button" onClick={closeName}>
            Cancel
          </button>
          <button className="primary" disabled={value.trim() === "" && !request.optional}>
            OK
          </button>
        </div>
      </form>
    </Popover>
  ); // prettier-ignore
}

function ChoiceQuestion() {
  const [request] = useState(() => canvas.get().choice!);
  const [query, setQuery] = useState("");
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = request.options.filter((option) => words.every((word) => `${option.label} ${option.detail}`.toLowerCase().includes(word)));
  return (
    <Popover at={null} label={request.title} className="palette narrow" onClose={closeChoice}>
      <Combo
        label={request.title} placeholder={request.title} query={query} options={shown} onQuery={setQuery} onClose={closeChoice}
        onChoose={(option) => (closeChoice(), option.choose())}
        show={(option) => (
          <span className="offer">
            {option.color && <i className="choice-dot" style={{ background: option.color }} aria-hidden="true" />}
            <span className="offer-title">{option.label}</span>
            <span className="offer-category">{option.detail}</span>
          </span>
        )}
      />
    </Popover>
  ); // prettier-ignore
}
