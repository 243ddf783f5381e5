import { useEffect, useRef } from "react";
import { type Doc, type Tab, isDirty } from "../state/documents";
import { type Store, useStore } from "../state/store";
import { useClashes } from "./clashes";
import { closeTab } from "./commands";
import { review } from "./disk";
import { FileMenu } from "./FileMenu";
import { openNew } from "./opening";
import "./files.css";

/** The menu of files, and the open ones. */
export function FileBar() {
  const tabs = useStore((state) => state.tabs);
  return (
    <nav aria-label="Files" className="file-bar">
      <FileMenu />
      <ul className="file-tabs">
        {tabs.map((tab, at) => (
          <FileTab key={tab.crumbs[0]!.doc} tab={tab} at={at} />
        ))}
      </ul>
      <button className="plain icon" aria-label="New workflow" title="New workflow" onClick={openNew}>
        +
      </button>
    </nav>
  );
}

function FileTab({ tab, at }: { tab: Tab; at: number }) {
  const name = tab.crumbs[0]!.doc;
  const active = useStore((state) => state.active === at);
  const show = useStore((state) => state.show);
  const changed = useStore((state) => changedIn(state, tab));
  const shipped = useStore((state) => state.docs[name]?.shipped ?? false);
  const clash = useClashes((state) => tab.crumbs.find((crumb) => state.clashes[crumb.doc])?.doc);
  const element = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (active) element.current?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [active]);
  return (
    <li ref={element} className={active ? "file-tab active" : "file-tab"}>
      <button
        className="plain"
        aria-current={active ? "page" : undefined}
        title={[name, shipped && "comes with Stepgraph", changed && "unsaved changes"].filter(Boolean).join(", ")}
        onClick={() => show(at)}
        onAuxClick={(event) => event.button === 1 && void closeTab(at)}
      >
        {name}
        {changed && (
          <>
            <span className="dirty-mark" aria-hidden="true" />
            <span className="hidden-text">, unsaved changes</span>
          </>
        )}
      </button>
      {clash && (
        <button className="plain clash" onClick={() => review(clash)}>
          changed on the disk
        </button>
      )}
      <button className="plain icon close" aria-label={`Close ${name}`} onClick={() => void closeTab(at)}>
        ×
      </button>
    </li>
  );
}

/** Whether a file on the way of a tab has unsaved changes. */
function changedIn(state: Store, tab: Tab): boolean {
  return tab.crumbs.some((crumb) => {
    const doc: Doc | undefined = state.docs[crumb.doc];
    return doc !== undefined && isDirty(doc);
  });
}
