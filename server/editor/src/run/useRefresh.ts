import { useEffect } from "react";
import { useStore } from "../state/store";

/** Calls an action now, after each change of a job's state that this page hears of, and every so often. */
export function useRefresh(action: () => void, milliseconds: number): void {
  const states = useStore(({ runs }) =>
    Object.values(runs)
      .map(({ job }) => job.id + job.state)
      .join(),
  );
  useEffect(action, [action, states]);
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && action(), milliseconds);
    return () => clearInterval(timer);
  }, [action, milliseconds]);
}
