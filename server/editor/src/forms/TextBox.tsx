import { type ComponentProps, useLayoutEffect, useRef } from "react";
import type { ControlProps } from "./Field";
import { written } from "./parse";

type Given = ControlProps & { lines: boolean; nullable: boolean };

/** A text on one line, or on as many as it has. One that may be missing has a box to check: an empty text is a text. */
export function TextBox({ field, draft, shown, aria, lines, nullable }: Given) {
  const missing = nullable && (shown === null || shown === undefined);
  const given = {
    ...aria,
    value: draft.text,
    disabled: missing,
    placeholder: missing ? "none" : written(field.default),
    onBlur: draft.leave,
    onChange: (event: { target: { value: string } }) => draft.type(event.target.value),
  };
  const box = lines ? <Lines {...given} /> : <input {...given} autoComplete="off" />;
  if (!nullable) return box;
  return (
    <div className="row">
      <input
        type="checkbox"
        aria-label={`Set ${field.name}`}
        checked={!missing}
        onChange={() => field.onChange(missing ? "" : null)}
      />
      {box}
    </div>
  );
}

const MOST_PIXELS = 260;

/** A box that is as tall as its text. */
function Lines(given: ComponentProps<"textarea">) {
  const element = useRef<HTMLTextAreaElement>(null);
  useLayoutEffect(() => {
    const box = element.current;
    if (!box) return;
    box.style.height = "auto";
    box.style.height = `${Math.min(MOST_PIXELS, box.scrollHeight + 2)}px`;
  }, [given.value]);
  return <textarea {...given} ref={element} rows={2} />;
}
