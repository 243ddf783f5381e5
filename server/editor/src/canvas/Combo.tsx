/** A field to search in a list and choose from it, by keys or pointer: the combobox pattern of ARIA. */

import { Fragment, type KeyboardEvent, type ReactNode, useEffect, useId, useRef, useState } from "react";

export type ComboOption = { id: string; group?: string };

type ComboProps<Option extends ComboOption> = {
  label: string;
  placeholder: string;
  query: string;
  options: readonly Option[];
  show(option: Option): ReactNode;
  /** What is told of the option that is marked, beside the list. */
  about?(option: Option): ReactNode;
  onQuery(query: string): void;
  onChoose(option: Option): void;
  onClose(): void;
};

const PAGE = 8;

export function Combo<Option extends ComboOption>(props: ComboProps<Option>) {
  const { label, placeholder, query, options, show, about, onQuery, onChoose, onClose } = props;
  const [at, setAt] = useState(0);
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const aside = useRef<HTMLDivElement>(null);
  const marked = options[Math.min(at, options.length - 1)];
  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }, [marked]);
  /** Tab goes on to what is told of an option, where it is longer than its box: arrows scroll it there. */
  const leave = (from: EventTarget) => {
    const told = aside.current;
    if (told !== null && from !== told && told.scrollHeight > told.clientHeight) told.focus();
    else onClose();
  };
  const hear = (event: KeyboardEvent) => {
    if (event.target === aside.current && event.key !== "Escape" && event.key !== "Tab") return;
    const last = options.length - 1;
    const moves: Record<string, () => void> = {
      ArrowDown: () => setAt(at >= last ? 0 : at + 1),
      ArrowUp: () => setAt(at <= 0 ? last : at - 1),
      PageDown: () => setAt(Math.min(last, at + PAGE)),
      PageUp: () => setAt(Math.max(0, at - PAGE)),
      Enter: () => marked && onChoose(marked),
      Escape: onClose,
      Tab: () => leave(event.target),
    };
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    move();
  };
  return (
    <div className="combo" onKeyDown={hear}>
      <input
        role="combobox" aria-label={label} aria-expanded="true" aria-controls={`${id}-list`} aria-autocomplete="list"
        aria-activedescendant={marked ? `${id}-${options.indexOf(marked)}` : undefined} autoComplete="off" spellCheck={false}
        placeholder={placeholder} value={query} autoFocus
        onChange={(event) => (setAt(0), onQuery(event.target.value))}
      />
      <div className="combo-both">
        <div className="combo-list" role="listbox" id={`${id}-list`} aria-label={label} ref={list} tabIndex={-1}>
          {options.map((option, place) => (
            <Fragment key={option.id}>
              {option.group && option.group !== options[place - 1]?.group && <div className="combo-group" aria-hidden="true">{option.group}</div>}
              <div
                id={`${id}-${place}`} role="option" aria-selected={option === marked} className="combo-option"
                onPointerMove={() => option !== marked && setAt(place)} onClick={() => onChoose(option)}
              >
                {show(option)}
              </div>
            </Fragment>
          ))}
          {options.length === 0 && <p className="combo-none quiet">Nothing fits “{query}”.</p>}
        </div>
        {about && marked && <div className="combo-about" ref={aside} tabIndex={0}>{about(marked)}</div>}
      </div>
    </div>
  ); // prettier-ignore
}
