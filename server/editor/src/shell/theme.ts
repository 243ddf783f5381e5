/** Light or dark: as the system says, unless somebody chose. */

import { useEffect, useSyncExternalStore } from "react";
import type { Theme } from "../state/interface";
import { useStore } from "../state/store";

const KEY = "stepgraph.theme";
const query = window.matchMedia("(prefers-color-scheme: dark)");

function listen(changed: () => void): () => void {
  query.addEventListener("change", changed);
  return () => query.removeEventListener("change", changed);
}

/** The theme that is shown. Sets it on the document. */
export function useTheme(): "light" | "dark" {
  const chosen = useStore((state) => state.theme);
  const dark = useSyncExternalStore(listen, () => query.matches);
  const shown = chosen === "system" ? (dark ? "dark" : "light") : chosen;
  useEffect(() => {
    document.documentElement.dataset.theme = shown;
  }, [shown]);
  return shown;
}

export function rememberTheme(theme: Theme): void {
  localStorage.setItem(KEY, theme);
}

export function rememberedTheme(): Theme {
  const found = localStorage.getItem(KEY);
  return found === "light" || found === "dark" ? found : "system";
}
