import type { ControlProps } from "./Field";

/** Yes or no. */
export function Toggle({ field, shown, aria }: ControlProps) {
  return (
    <input
      {...aria}
      type="checkbox"
      checked={shown === true}
      onChange={(event) => field.onChange(event.target.checked)}
    />
  );
}
