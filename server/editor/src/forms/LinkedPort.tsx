import { disconnect } from "../graph/edits";
import { type Graph, type GraphNode, INPUTS, type Port, origin } from "../graph/graph";
import { linksIn } from "../graph/references";
import { plain } from "../graph/types";
import type { Crumb } from "../state/documents";
import { useStore } from "../state/store";
import { typeColor } from "../parts/typeColor";
import { Prose } from "./Prose";
import { usePortProblems } from "./PortField";

type Given = { crumb: Crumb; graph: Graph; node: GraphNode; port: Port };

/** A port whose value comes from elsewhere, with the ways there and away; or that it needs a link and has none. */
export function LinkedPort({ crumb, graph, node, port }: Given) {
  const problems = usePortProblems(crumb, node, port);
  const links = linksIn(port.source);
  return (
    <div className="field">
      <div className="field-head">
        <span className="form-dot" style={{ background: typeColor(port.type) }} />
        <b>{port.name}</b>
        <span className="quiet form-type">{typeWords(port.type)}</span>
      </div>
      {links.length === 0 && <p className="quiet field-help">{port.required ? "Needs a link." : "No link."}</p>}
      {links.map(({ from, path }, at) => (
        <Link
          key={`${at} ${from}`}
          {...{ crumb, graph, node, port, from }}
          item={path.length === 0 ? undefined : path[0]}
        />
      ))}
      {problems.length > 0 && (
        <p className="bad field-error" role="alert">
          {problems.join(" ")}
        </p>
      )}
      {port.help && (
        <p className="quiet field-help">
          <Prose text={port.help} />
        </p>
      )}
    </div>
  );
}

/** A type by its name; one of many choices would be a list. */
export function typeWords(type: string): string {
  return plain(type) === "choice" ? "choice" : type;
}

function Link({ crumb, graph, node, port, from, item }: Given & { from: string; item: number | undefined }) {
  const select = useStore((state) => state.select);
  const change = useStore((state) => state.change);
  const start = origin(from, new Map(graph.nodes.map((one) => [one.id, one])));
  const where = start?.from === INPUTS ? from.replace(/^inputs\./, "") : from;
  return (
    <div className="form-link">
      <span className="grow" title={from}>
        {start?.from === INPUTS ? "Input " : "From "}
        <b>{where}</b>
        {start === null && <span className="bad"> (not there)</span>}
      </span>
      {start && (
        <button aria-label={`Go there: ${where}, where ${port.name} comes from`} onClick={() => select([start.from])}>
          Go there
        </button>
      )}
      <button
        aria-label={`Unlink ${port.name} from ${where}`}
        onClick={() => change(disconnect(graph, crumb.body, node.id, port.id, item), crumb.doc)}
      >
        Unlink
      </button>
    </div>
  );
}
