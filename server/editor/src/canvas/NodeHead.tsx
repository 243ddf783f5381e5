import { type GraphNode, calledWorkflow } from "../graph/graph";
import { runPath } from "../state/documents";
import { useStore } from "../state/store";
import { type NodeData, domId } from "./flow";
import { isOpenable, openNode } from "./levels";
import { RunMark } from "./RunMark";

/** The head of a node: its title, quietly its type, what it is marked as, and how it stands in the run. */
export function NodeHead({ data }: { data: NodeData }) {
  const { node, crumb, problems } = data;
  const id = domId(node.id);
  return (
    <div className="node-head">
      <div className="node-names">
        <span className="node-title" id={`${id}-title`} title={node.doc || undefined}>
          {node.title || node.id}
        </span>
        <span className="node-type">{subtitle(node)}</span>
      </div>
      <Marks node={node} />
      {problems.length > 0 && <ProblemMark data={data} />}
      {isOpenable(node) && (
        <button className="plain icon node-open nodrag" aria-label={`Open ${node.title || node.id}`} title="Open (Enter)" onClick={() => void openNode(node)}>
          ⤵
        </button>
      )}
      <RunMark id={`${id}-state`} path={runPath(crumb, node.id)} words={wordsOf(data)} />
    </div>
  );
}

function subtitle(node: GraphNode): string {
  if (node.entry === null) return "";
  const type = node.kind === "workflow" ? `workflow ${calledWorkflow(node.entry)}` : node.type;
  return node.title ? `${type} · ${node.id}` : type;
}

function Marks({ node }: { node: GraphNode }) {
  if (node.entry?.mute) return <span className="node-badge">muted</span>;
  if (node.entry?.bypass) return <span className="node-badge">bypassed</span>;
  return null;
}

function ProblemMark({ data: { problems } }: { data: NodeData }) {
  const setBottom = useStore((state) => state.setBottom);
  const count = problems.length === 1 ? "1 problem" : `${problems.length} problems`;
  return (
    <button
      className="plain node-errors nodrag" aria-label={`${count}: show`} title={problems.map((one) => one.text).join("\n")}
      onClick={() => setBottom("problems")}
    >
      {problems.length}
    </button>
  ); // prettier-ignore
}

/** What a screen reader says of a node besides its title and its run. */
function wordsOf({ node, problems, collapsed }: NodeData): string {
  const words = [node.entry ? node.type : "", collapsed && "collapsed", node.entry?.mute && "muted", node.entry?.bypass && "bypassed"];
  const wrong = problems.length > 0 && `${problems.length} ${problems.length === 1 ? "problem" : "problems"}`;
  return [...words, wrong].filter(Boolean).join(", ");
}
