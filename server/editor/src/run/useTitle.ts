import { useEffect } from "react";
import type { Run } from "../state/noderun";
import { tell } from "./progress";

const MARK = /^(\(\d+ %\)|✓|✕|…) /;

/** Shows in the title of the page how far a run is, and its end as long as nobody looks at the page. */
export function useTitle(run: Run | undefined): void {
  const mark = run === undefined ? "" : markOf(run);
  useEffect(() => {
    const show = () => {
      const ended = mark === "✓ " || mark === "✕ ";
      document.title = (ended && !document.hidden ? "" : mark) + document.title.replace(MARK, "");
    };
    show();
    document.addEventListener("visibilitychange", show);
    return () => document.removeEventListener("visibilitychange", show);
  }, [mark]);
}

function markOf(run: Run): string {
  const { share } = tell(run);
  if (run.job.state === "running") return share === null ? "… " : `(${Math.round(share * 100)} %) `;
  return { queued: "… ", succeeded: "✓ ", failed: "✕ ", cancelled: "" }[run.job.state];
}
