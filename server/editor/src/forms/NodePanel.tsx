import { INPUTS, OUTPUTS } from "../graph/graph";
import { useLevel } from "../state/level";
import { useStore } from "../state/store";
import { EndForm } from "./EndForm";
import { InputsForm } from "./InputsForm";
import { NodeForm } from "./NodeForm";
import { SeveralForm } from "./SeveralForm";
import { WorkflowForm } from "./WorkflowForm";
import "./forms.css";

/** The form of what is selected: a node, several, an end of the level; of the workflow where nothing is. */
export default function NodePanel() {
  const level = useLevel();
  const selection = useStore((state) => state.selection);
  if (level === null) return <p className="quiet">No workflow is open.</p>;
  const selected = level.graph.nodes.filter((node) => selection.includes(node.id));
  const [node] = selected;
  if (node === undefined) return <WorkflowForm level={level} />;
  if (selected.length > 1) return <SeveralForm level={level} nodes={selected} />;
  const key = `${level.crumb.doc} ${level.crumb.body.join(".")} ${node.id}`;
  if (node.id === INPUTS && level.crumb.body.length === 0) return <InputsForm key={key} level={level} />;
  if (node.id === INPUTS || node.id === OUTPUTS) return <EndForm key={key} level={level} node={node} />;
  return <NodeForm key={key} level={level} node={node} />;
}
