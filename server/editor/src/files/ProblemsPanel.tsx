import type { Problem } from "../api/types";
import { perform } from "../state/command";
import { rootDoc } from "../state/documents";
import { showNode } from "../state/showNode";
import { useStore } from "../state/store";
import "./files.css";

/** Everything that the checker has to say of the file that is run, and of those that it calls. */
export default function ProblemsPanel() {
  const check = useStore((state) => state.checks[rootDoc(state)?.name ?? ""]);
  if (check === undefined) return <p className="quiet problems">Not checked yet.</p>;
  if (check.problems.length === 0) return <p className="quiet problems">No problems. What is wrong with a workflow stands here before it runs.</p>;
  return (
    <ul className="problems" aria-label="Problems">
      {check.problems.map((problem, at) => (
        <li key={at}>
          <OneProblem problem={problem} />
        </li>
      ))}
    </ul>
  );
}

function OneProblem({ problem }: { problem: Problem }) {
  const { node, port, file, line, column, message, fix } = problem;
  return (
    <button className="plain problem" onClick={() => void perform({ id: "problem", title: "Show", run: () => show(problem) })}>
      <span className="problem-place">
        {node ? [...node.split("."), port].filter(Boolean).join(" › ") : file}
        <span className="quiet">
          {" "}
          {file}:{line}:{column}
        </span>
      </span>
      <span>{message}</span>
      {fix && <span className="quiet">{fix}</span>}
    </button>
  );
}

/** Shows the node of a problem with its form; a problem of the file as a whole is shown in the text. */
async function show({ node, port }: Problem): Promise<void> {
  const { setBottom, setSide } = useStore.getState();
  if (!node) return setBottom("json");
  await showNode(node);
  setSide("node");
  if (port) requestAnimationFrame(() => requestAnimationFrame(() => focusField(port)));
}

/** Puts the focus into the field of a port, in the form beside the canvas; a linked port has none. */
function focusField(port: string): void {
  const labels = [...document.querySelectorAll<HTMLLabelElement>(".side label")];
  const field = labels.find((label) => label.textContent === port)?.control;
  field?.scrollIntoView({ block: "center" });
  field?.focus();
}
