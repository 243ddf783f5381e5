/** Parts of the page that are fetched when they are first shown. */

import { type ComponentType, type LazyExoticComponent, lazy, useEffect } from "react";
import { useStore } from "../state/store";

/** A component with a file of its own. Where that cannot be fetched the page goes on without it, and says so. */
export function lazily<Props>(load: () => Promise<{ default: ComponentType<Props> }>): LazyExoticComponent<ComponentType<Props>> {
  return lazy(() => load().catch(() => ({ default: Missing })));
}

/** Browsers remember that a file could not be fetched: only a reload asks for it again. */
function Missing() {
  const say = useStore((state) => state.say);
  useEffect(() => {
    const words = "A part of this page could not be fetched. Reload the page when the server answers again; unsaved changes are kept.";
    say("error", words);
  }, [say]);
  return null;
}
