import { useEffect, useId, useRef, useState } from "react";
import { useStore } from "../state/store";
import { attempt } from "./writing";

type Given = { label: string; name: string; onRename(name: string): void };

/** A name that other parts of the file refer to: changed on Enter or when it is left, and refused in words. */
export function NameBox({ label, name, onRename }: Given) {
  const id = useId();
  const { text, problem, type, settle, back } = useName(name, onRename);
  return (
    <div className="field">
      <div className="field-head">
        <label htmlFor={id}>{label}</label>
      </div>
      <input
        id={id}
        autoComplete="off"
        spellCheck={false}
        aria-invalid={problem !== null || undefined}
        aria-describedby={problem !== null ? `${id}-error` : undefined}
        value={text}
        onChange={(event) => type(event.target.value)}
        onBlur={settle}
        onKeyDown={(event) => {
          if (event.key === "Enter") settle();
          if (event.key === "Escape") back();
        }}
      />
      {problem !== null && (
        <p className="bad field-error" id={`${id}-error`} role="alert">
          {problem}
        </p>
      )}
    </div>
  );
}

function useName(name: string, onRename: (name: string) => void) {
  const [typed, setTyped] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const open = useRef<string | null>(null);
  const write = (text: string | null) => {
    open.current = text;
    setTyped(text);
  };
  const settle = () => {
    if (open.current === null) return;
    const text = open.current;
    open.current = null;
    const refused = text === name ? null : attempt(() => onRename(text));
    setProblem(refused);
    write(refused === null ? null : text);
  };
  const back = () => {
    write(null);
    setProblem(null);
  };
  useSettled(open, onRename);
  return { text: typed ?? name, problem, type: write, settle, back };
}

/** A name that was typed is given also where its form goes before the box is left, as when another node is clicked. */
function useSettled(open: { current: string | null }, onRename: (name: string) => void): void {
  const rename = useRef(onRename);
  useEffect(() => {
    rename.current = onRename;
  });
  useEffect(
    () => () => {
      const text = open.current;
      const refused = text === null ? null : attempt(() => rename.current(text));
      if (refused !== null) useStore.getState().say("error", refused);
    },
    [open],
  );
}
