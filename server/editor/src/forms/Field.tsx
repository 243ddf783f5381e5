import { type ReactNode, useId } from "react";
import type { PortSchema } from "../api/types";
import type { Json } from "../document/syntax";
import { Choice } from "./Choice";
import type { Offer } from "./Combobox";
import { type Control, type Purpose, controlOf } from "./control";
import { type Draft, useDraft } from "./draft";
import { NumberBox } from "./NumberBox";
import { type Empty, type Parsed, hasLines, inLines, inWords, parseJson, parseLines, parseList, parseNumber, written } from "./parse";
import { PathBox } from "./PathBox";
import { Prose } from "./Prose";
import { SeedBox } from "./SeedBox";
import type { StoredFile } from "./stored";
import { TextBox } from "./TextBox";
import { Toggle } from "./Toggle";
import "./forms.css";

export type FieldProps = {
  name: string;
  type: string;
  schema?: PortSchema;
  /** What the text of a path names, where that is known. */
  purpose?: Purpose;
  /** Names that fit here, to choose from. */
  offers?: readonly Offer[];
  /** What is set; undefined where the default applies. */
  value: Json | undefined;
  default?: Json;
  required?: boolean;
  help?: string;
  /** What is wrong with the value, in the words of the checker. */
  errors?: readonly string[];
  /** The name of a seed that can be locked (see `seedName`). */
  seed?: string;
  /** For a node on the canvas: small, and without its help in view. */
  compact?: boolean;
  /** Further buttons beside the label. */
  children?: ReactNode;
  /** How a file that the server keeps is named here. */
  nameFile?(file: StoredFile): string;
  /** Sets the value; undefined takes it back, so that the default applies. */
  onChange(value: Json | undefined): void;
  /** Paints a mask: into this field, or on the picture that this field names. */
  onPaint?(): void;
};

/** What every control is given. */
export type ControlProps = {
  field: FieldProps;
  draft: Draft;
  /** The value that a run would take. */
  shown: Json | undefined;
  aria: { id: string; "aria-invalid"?: true; "aria-describedby"?: string };
};

/** A value with its label, its help and what is wrong with it. Draws the name of its port itself. */
export function Field(field: FieldProps) {
  const id = useId();
  const shown = field.value === undefined ? field.default : field.value;
  const control = fitting(controlOf(field), shown);
  const text = control.kind === "list" ? inLines(shown) : written(shown);
  const draft = useDraft(field.value, text, parserOf(control, field), field.onChange);
  const errors = draft.problem === null ? (field.errors ?? []) : [draft.problem];
  const help = helpOf(control, field);
  const describedBy = [help && !field.compact && `${id}-help`, errors.length > 0 && `${id}-error`]
    .filter(Boolean)
    .join(" ");
  const aria = {
    id,
    ...(errors.length > 0 && { "aria-invalid": true as const }),
    ...(describedBy && { "aria-describedby": describedBy }),
  };
  const resets = !field.required && field.value !== undefined && !field.compact;
  return (
    <div
      className={`field ${layoutOf(control)} ${field.compact ? "compact nodrag nowheel" : ""}`}
      title={field.compact ? help : undefined}
    >
      <div className="field-head">
        <label htmlFor={id}>{field.name}</label>
        {field.children}
        {resets && <Reset field={field} />}
      </div>
      <ControlFor control={control} given={{ field, draft, shown, aria }} />
      {errors.length > 0 && (
        <p className="bad field-error" id={`${id}-error`} role="alert">
          {errors.join(" ")}
        </p>
      )}
      {help && !field.compact && (
        <p className="quiet field-help" id={`${id}-help`}>
          <Prose text={help} />
        </p>
      )}
    </div>
  );
}

/** A list with an item that would not be one line (a link, a list, a longer text) is JSON. */
function fitting(control: Control, shown: Json | undefined): Control {
  return control.kind === "list" && !hasLines(shown) ? { kind: "json", list: true } : control;
}

function Reset({ field }: { field: FieldProps }) {
  const words = `Reset ${field.name} to its default, ${written(field.default) || "empty"}`;
  return (
    <button
      className="plain icon field-reset"
      aria-label={words}
      title={words}
      onClick={() => field.onChange(undefined)}
    >
      ↺
    </button>
  );
}

function ControlFor({ control, given }: { control: Control; given: ControlProps }) {
  switch (control.kind) {
    case "number":
      return <NumberBox {...given} control={control} />;
    case "seed":
      return <SeedBox {...given} control={control.number} />;
    case "choice":
      return <Choice {...given} control={control} />;
    case "toggle":
      return <Toggle {...given} />;
    case "path":
      return <PathBox {...given} purpose={control.purpose} />;
    case "text":
      return <TextBox {...given} lines={control.lines} nullable={control.nullable} />;
    case "list":
    case "json":
      return <TextBox {...given} lines nullable={false} />;
  }
}

/** Whether the control stands before its label, beside it, or needs the whole width. */
function layoutOf(control: Control): "check" | "wide" | "" {
  if (control.kind === "toggle") return "check";
  const lines = control.kind === "text" && control.lines;
  return lines || control.kind === "path" || control.kind === "list" || control.kind === "json" ? "wide" : "";
}

function helpOf(control: Control, field: FieldProps): string {
  const number = control.kind === "seed" ? control.number : control;
  const bounds = number.kind === "number" ? inWords(number.bounds) : "";
  const lines = control.kind === "list" ? "(one a line)" : "";
  return [field.help, bounds && `(${bounds})`, lines].filter(Boolean).join(" ");
}

function parserOf(control: Control, field: FieldProps): (text: string) => Parsed {
  const nullable = "nullable" in control ? control.nullable : control.kind === "seed" && control.number.nullable;
  const empty: Empty = nullable
    ? { value: field.default === null ? undefined : null }
    : field.required
      ? "refused"
      : { value: undefined };
  switch (control.kind) {
    case "number":
      return (text) => parseNumber(text, control, empty);
    case "seed":
      return (text) => parseNumber(text, control.number, empty);
    case "list":
      return (text) => parseLines(text, control.items);
    case "json":
      return (text) => (control.list ? parseList : parseJson)(text, empty);
    case "path":
      return (text) =>
        text.trim() !== "" ? { value: text } : empty === "refused" ? { problem: "A path is needed here." } : empty;
    default:
      return (text) => ({ value: text });
  }
}
