import { Field } from "./Field";

type Given = {
  name: string;
  value: string | undefined;
  lines?: boolean;
  help?: string;
  onChange(value: string | undefined): void;
};

/** A text about something in the file (a title, a note); an empty one is none. */
export function TextField({ name, value, lines, help, onChange }: Given) {
  return (
    <Field
      name={name}
      type={lines ? "lines" : "str"}
      value={value ?? ""}
      required
      help={help}
      onChange={(made) => onChange(typeof made === "string" && made !== "" ? made : undefined)}
    />
  );
}
