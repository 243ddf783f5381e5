/** How values name files that the server keeps by their content. */

import type { Json } from "../document/syntax";

export type StoredFile = { id: string; media_type: string };

const SUFFIXES: Record<string, string> = {
  "image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "application/octet-stream": ".safetensors",
}; // prettier-ignore

/** In a value for a run: the server counts the file as used then. */
export function forRun({ id }: StoredFile): string {
  return `file:${id}`;
}

/** In a workflow file: its name among those that runs may read; `file:` has a meaning in values for a run alone. */
export function forFile({ id, media_type }: StoredFile): string {
  return id + (SUFFIXES[media_type] ?? "");
}

/** The id of the file that a value names in either way. */
export function fileId(value: Json | undefined): string | null {
  return typeof value === "string" ? (/^(?:file:)?([0-9a-f]{32})(?:\.\w+)?$/.exec(value)?.[1] ?? null) : null;
}
