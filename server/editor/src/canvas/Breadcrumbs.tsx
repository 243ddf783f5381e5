import { levelAt } from "../graph/graph";
import { type Crumb, currentTab, fileOf } from "../state/documents";
import { type Store, useStore } from "../state/store";
import { leaveLevel } from "./levels";
import "./breadcrumbs.css";

/** The way from the file to the level that is shown. */
export function Breadcrumbs() {
  const crumbs = useStore((state) => currentTab(state).crumbs);
  const docs = useStore((state) => state.docs);
  const leaveTo = useStore((state) => state.leaveTo);
  if (crumbs.length < 2) return <div />;
  const last = crumbs.length - 1;
  return (
    <nav aria-label="Levels" className="crumbs">
      <button className="plain icon" aria-label="Back to the level around (Alt+ArrowUp)" title="Back (Alt+ArrowUp)" onClick={leaveLevel}>
        ↰
      </button>
      <ol>
        {crumbs.map((crumb, depth) => (
          <li key={depth}>
            {depth === last ? (
              <span aria-current="location">{titleOf(crumb, docs)}</span>
            ) : (
              <button className="plain" onClick={() => leaveTo(depth)}>
                {titleOf(crumb, docs)}
              </button>
            )}
            {depth > 0 && <span className="crumb-kind">{kindOf(crumb, docs)}</span>}
          </li>
        ))}
      </ol>
    </nav>
  );
}

function titleOf({ doc, body }: Crumb, docs: Store["docs"]): string {
  const file = docs[doc] && fileOf(docs[doc]);
  if (body.length === 0) return file?.title || doc;
  const name = String(body.at(-2));
  return (file && levelAt(file, body.slice(0, -3))?.nodes[name]?.title) || name;
}

function kindOf({ doc, body }: Crumb, docs: Store["docs"]): string {
  const file = docs[doc] && fileOf(docs[doc]);
  if (body.length === 0) return `${doc}.json`;
  return (file && levelAt(file, body.slice(0, -3))?.nodes[String(body.at(-2))]?.type) || "body";
}
