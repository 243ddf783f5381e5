import type { ControlProps } from "./Field";
import { type NumberControl, snapped } from "./control";
import { written } from "./parse";

/** A number: a box, and a slider where its bounds are near enough to each other. */
export function NumberBox({ control, field, draft, shown, aria }: ControlProps & { control: NumberControl }) {
  const { slider } = control;
  const step = (by: number) => {
    const grain = slider?.step ?? (control.integer ? 1 : 0.1);
    const from = typeof shown === "number" ? shown : (control.bounds.minimum ?? 0);
    draft.type(String(Number((from + by * grain).toPrecision(12))));
  };
  return (
    <div className="field-number">
      {slider && (
        <input
          type="range"
          tabIndex={-1}
          aria-label={`${field.name}, slider`}
          min={slider.min}
          max={slider.max}
          step={control.integer ? 1 : "any"}
          value={typeof shown === "number" ? shown : slider.min}
          onChange={(event) => field.onChange(snapped(slider, event.target.valueAsNumber))}
        />
      )}
      <input
        {...aria}
        inputMode={control.integer ? "numeric" : "decimal"}
        autoComplete="off"
        value={draft.text}
        placeholder={control.nullable ? "none" : written(field.default)}
        onChange={(event) => draft.type(event.target.value)}
        onBlur={draft.leave}
        onKeyDown={(event) => {
          const by = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
          if (by === undefined) return;
          event.preventDefault();
          step(by);
        }}
      />
    </div>
  );
}
