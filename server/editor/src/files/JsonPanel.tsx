import { type KeyboardEvent, memo, useEffect, useMemo, useRef, useState } from "react";
import type { Problem } from "../api/types";
import { perform } from "../state/command";
import { currentCrumb, currentDoc, rootDoc, textOf } from "../state/documents";
import { showNode } from "../state/showNode";
import { useStore } from "../state/store";
import { type Place, placeOf, placeOfLine, places } from "./places";
import { type Token, tokenAt, tokens } from "./tokens";
import "./json.css";

/** Lines that are drawn together; the browser skips pieces that are out of sight, and still finds words in them. */
const PIECE = 60;
const LINE_PIXELS = 19;

const NONE: readonly Problem[] = [];

/** The text of the document that is shown, with the checker's problems. It is read-only. */
export default function JsonPanel() {
  const doc = useStore(currentDoc);
  const problems = useStore((state) => state.checks[rootDoc(state)?.name ?? ""]?.problems ?? NONE);
  const text = doc ? textOf(doc) : "";
  const own = useMemo(() => problems.filter((one) => one.file === `${doc?.name}.json`), [problems, doc?.name]);
  if (doc === undefined) return <p className="quiet json-empty">No file is open.</p>;
  return <Text text={text} all={places(doc.history.now.tree)} problems={own} />;
}

function Text({ text, all, problems }: { text: string; all: readonly Place[]; problems: readonly Problem[] }) {
  const area = useRef<HTMLDivElement>(null);
  const [line, setLine] = useState(1);
  const pieces = useMemo(() => inPieces(text), [text]);
  const selected = useSelectedPlace(all);
  useEffect(() => {
    if (selected === undefined) return;
    scrollTo(area.current, selected.from);
    setLine((now) => (now >= selected.from && now <= selected.to ? now : selected.from));
  }, [selected?.from, selected?.to]);
  const count = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const hear = (event: KeyboardEvent) => {
    const to = { ArrowDown: line + 1, ArrowUp: line - 1, Home: 1, End: count, PageDown: line + 15, PageUp: line - 15 }[event.key];
    if (event.key === "Enter") select(placeOfLine(all, line));
    else if (to === undefined) return;
    else move(Math.min(count, Math.max(1, to)));
    event.preventDefault();
  };
  const move = (to: number) => {
    setLine(to);
    scrollTo(area.current, to, true);
  };
  return (
    <div className="json">
      <div className="json-bar">
        <span className="quiet">
          {count} lines. A click on a line, or Enter, selects its node.
        </span>
        <span className="hidden-text" role="status">
          {says(all, problems, line)}
        </span>
        <button className="plain" onClick={() => void copy(text)}>
          Copy
        </button>
      </div>
      <div ref={area} className="json-lines" role="region" aria-label="JSON of the file, read-only" tabIndex={0} onKeyDown={hear}>
        {pieces.map((piece, at) => (
          <Piece
            key={at}
            lines={piece}
            first={at * PIECE + 1}
            marks={marksOf(problems, at * PIECE + 1, piece.length)}
            from={within(selected?.from, at)}
            to={within(selected?.to, at)}
            current={within(line, at)}
            choose={(chosen) => {
              setLine(chosen);
              select(placeOfLine(all, chosen));
            }}
          />
        ))}
      </div>
    </div>
  );
}

function inPieces(text: string): string[][] {
  const lines = text.replace(/\n$/, "").split("\n");
  return Array.from({ length: Math.ceil(lines.length / PIECE) }, (_, at) => lines.slice(at * PIECE, (at + 1) * PIECE));
}

/** A line as a piece sees it: those before it are 0, those after it one more than it has, so that few pieces change. */
function within(line: number | undefined, piece: number): number {
  return Math.min(PIECE + 1, Math.max(0, (line ?? 0) - piece * PIECE));
}

function useSelectedPlace(all: readonly Place[]): Place | undefined {
  const crumb = useStore(currentCrumb);
  const selection = useStore((state) => state.selection);
  return useMemo(() => (crumb && selection[0] ? placeOf(all, crumb.body, selection[0]) : undefined), [all, crumb, selection]);
}

function scrollTo(area: HTMLElement | null, line: number, little = false): void {
  if (area === null) return;
  const top = (line - 1) * LINE_PIXELS;
  const visible = top >= area.scrollTop && top + 2 * LINE_PIXELS <= area.scrollTop + area.clientHeight;
  if (visible) return;
  const down = little && top > area.scrollTop;
  area.scrollTop = down ? top + 2 * LINE_PIXELS - area.clientHeight : Math.max(0, top - (little ? 0 : 2 * LINE_PIXELS));
}

/** Selects a node of the file in the level that it stands in. */
function select(place: Place | undefined): void {
  if (place === undefined) return;
  const crumbs = useStore.getState().tabs[useStore.getState().active]?.crumbs ?? [];
  const file = crumbs.findLast((crumb) => crumb.doc === currentCrumb(useStore.getState())?.doc && crumb.body.length === 0);
  if (file === undefined) return;
  const inner = place.body.filter((_, at) => at % 3 === 1).map(String);
  void perform({ id: "json-select", title: "Select", run: () => showNode([...file.via, ...inner, place.name].join(".")) });
}

async function copy(text: string): Promise<void> {
  const { say } = useStore.getState();
  try {
    await navigator.clipboard.writeText(text);
    say("success", "Copied the text of the file.");
  } catch {
    say("error", "The browser does not let this page use the clipboard. Select the text and copy it with Ctrl+C.");
  }
}

function says(all: readonly Place[], problems: readonly Problem[], line: number): string {
  const node = placeOfLine(all, line)?.name;
  const said = problems.filter((one) => one.line === line).map((one) => one.message);
  return [`Line ${line}`, node && `node ${node}`, ...said].filter(Boolean).join(", ");
}

type Mark = { line: number; column: number; message: string };

/** The problems of a piece's lines, as a text, so that a piece with the same ones is not drawn again. */
function marksOf(problems: readonly Problem[], first: number, count: number): string {
  const own = problems.filter((one) => one.line >= first && one.line < first + count);
  return JSON.stringify(own.map(({ line, column, message, fix }): Mark => ({ line, column, message: fix ? `${message}; ${fix}` : message })));
}

type PieceGiven = {
  lines: readonly string[];
  first: number;
  marks: string;
  /** Lines of this piece, from 1. */
  from: number;
  to: number;
  current: number;
  choose(line: number): void;
};

const Piece = memo(DrawnPiece, (a, b) =>
  (["first", "marks", "from", "to", "current"] as const).every((key) => a[key] === b[key]) && sameLines(a.lines, b.lines),
);

function sameLines(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((line, at) => line === b[at]);
}

/** Some lines: one plain text until they come into sight, which is all that a search of the browser needs. */
function DrawnPiece({ lines, first, marks, from, to, current, choose }: PieceGiven) {
  const element = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const watcher = new IntersectionObserver(([entry]) => entry?.isIntersecting && setSeen(true), { rootMargin: "400px" });
    watcher.observe(element.current!);
    return () => watcher.disconnect();
  }, []);
  const found = useMemo(() => JSON.parse(marks) as Mark[], [marks]);
  return (
    <div ref={element} className="json-piece" style={{ height: lines.length * LINE_PIXELS }}>
      {seen
        ? lines.map((line, at) => (
            <div key={at} className={lineClass(at + 1, from, to, current)} onClick={() => choose(first + at)}>
              <span className="json-number" data-line={first + at} />
              <Line line={line} marks={found.filter((mark) => mark.line === first + at)} />
            </div>
          ))
        : lines.join("\n")}
    </div>
  );
}

function lineClass(line: number, from: number, to: number, current: number): string {
  const selected = from > 0 && line >= from && line <= to;
  return `json-line${selected ? " selected" : ""}${line === current ? " current" : ""}`;
}

const Line = memo(function Line({ line, marks }: { line: string; marks: readonly Mark[] }) {
  const pieces = tokens(line);
  const marked = new Map(marks.map((mark) => [tokenAt(pieces, mark.column), mark]));
  return pieces.map((piece) => <Word key={piece.column} piece={piece} mark={marked.get(piece)} />);
});

function Word({ piece, mark }: { piece: Token; mark: Mark | undefined }) {
  if (mark === undefined) return piece.kind === "space" ? piece.text : <span className={`json-${piece.kind}`}>{piece.text}</span>;
  return (
    <mark className={`json-${piece.kind} json-wrong`} tabIndex={0} aria-description={mark.message} data-message={mark.message}>
      {piece.text}
    </mark>
  );
}
