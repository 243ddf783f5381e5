import { rootDoc } from "../state/documents";
import { useStore } from "../state/store";

/** How many problems the checker found, beside the name of their panel. */
export function ProblemCount() {
  const count = useStore((state) => state.checks[rootDoc(state)?.name ?? ""]?.problems.length ?? 0);
  if (count === 0) return null;
  return <span className="badge problem-count">{count}</span>;
}
