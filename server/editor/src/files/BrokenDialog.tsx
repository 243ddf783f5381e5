import { useEffect, useId, useRef, useState } from "react";
import type { Stored } from "../api/client";
import { offsetOf, parse, SyntaxProblem } from "../document/syntax";
import { Modal } from "../parts/Modal";
import { perform } from "../state/command";
import { useStore } from "../state/store";
import { openRepaired, openTextOf } from "./opening";

/** A text that is no JSON: shown with its mistake, to be repaired and opened. */
export default function BrokenDialog({ about }: { about: unknown }) {
  const { file, text: given, stored } = about as { file: string; text: string; stored?: Stored };
  const [text, setText] = useState(given);
  const area = useRef<HTMLTextAreaElement>(null);
  const closeDialog = useStore((state) => state.closeDialog);
  const id = useId();
  const problem = mistake(text);
  const goTo = () => {
    const at = problem ? offsetOf(text, problem.line, problem.column) : 0;
    area.current?.focus();
    area.current?.setSelectionRange(at, at + 1);
    scrollTo(area.current, problem?.line ?? 1);
  };
  useEffect(goTo, []); // once, to the mistake that the text came with
  const open = () => {
    closeDialog();
    const name = file.replace(/\.json$/, "");
    void perform({ id: "open", title: "Open", run: () => (stored ? openRepaired(name, text, stored) : openTextOf(file, text)) });
  };
  return (
    <Modal title={`${file} cannot be read`} wide>
      <div className="column">
        <p id={`${id}-said`} role="status" className={problem ? "bad" : ""}>
          {problem ? `Line ${problem.line}, column ${problem.column}: ${reason(problem)}` : "It is JSON now."}
        </p>
        {problem && (
          <pre className="broken-line" aria-hidden="true">
            {line(text, problem.line)}
            {"\n"}
            {" ".repeat(problem.column - 1)}^
          </pre>
        )}
        <textarea
          ref={area}
          className="broken-text"
          rows={18}
          spellCheck={false}
          aria-label={`The text of ${file}`}
          aria-describedby={`${id}-said`}
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
        <div className="row dialog-buttons">
          <button className="primary" disabled={problem !== null} onClick={open}>
            Open
          </button>
          <button disabled={problem === null} onClick={goTo}>
            Show the mistake
          </button>
        </div>
      </div>
    </Modal>
  );
}

function mistake(text: string): SyntaxProblem | null {
  try {
    parse(text);
    return null;
  } catch (problem) {
    if (problem instanceof SyntaxProblem) return problem;
    throw problem;
  }
}

/** What is wrong, without the place that the message begins with. */
function reason(problem: SyntaxProblem): string {
  return problem.message.replace(/^\d+:\d+: /, "");
}

function line(text: string, number: number): string {
  return (text.split("\n")[number - 1] ?? "").replaceAll("\t", " ");
}

function scrollTo(area: HTMLTextAreaElement | null, number: number): void {
  if (area === null) return;
  const height = area.scrollHeight / Math.max(1, area.value.split("\n").length);
  area.scrollTop = Math.max(0, (number - 6) * height);
}
