import { type KeyboardEvent, useId, useRef, useState } from "react";
import { Popup } from "./Popup";

export type Offer = { value: string; title?: string };

type Given = {
  aria: { id: string; "aria-invalid"?: true; "aria-describedby"?: string };
  /** What is in the box while nobody types. */
  text: string;
  placeholder?: string;
  offers: readonly Offer[];
  /** Whether any text may stand in the box, or one of the offers alone. */
  free: boolean;
  onText?(text: string): void;
  onChoose(value: string): void;
  onLeave?(): void;
};

/** A box with offers that are narrowed by typing. Arrows walk through them, Enter takes one, Escape closes them. */
export function Combobox({ aria, text, placeholder, offers, free, onText, onChoose, onLeave }: Given) {
  const [typed, setTyped] = useState<string | null>(null);
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(-1);
  const box = useRef<HTMLInputElement>(null);
  const list = useId();
  const found = typed === null ? offers : matching(offers, typed);
  const close = () => {
    setOpen(false);
    setTyped(null);
    setAt(-1);
  };
  const take = (offer: Offer) => {
    onChoose(offer.value);
    close();
  };
  const show = () => {
    setOpen(true);
    if (!free) setAt(offers.findIndex((one) => one.value === text));
  };
  const hear = (event: KeyboardEvent) => {
    if (event.key === "Escape" && open) {
      event.preventDefault();
      event.stopPropagation();
      close();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!open) show();
      else if (found.length > 0)
        setAt((now) => (now + (event.key === "ArrowDown" ? 1 : now < 0 ? 0 : -1) + found.length) % found.length);
    } else if (event.key === "Enter" && open && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const offer = found[at] ?? (free ? undefined : found[0]);
      if (offer) take(offer);
      else close();
    }
  };
  return (
    <>
      <input
        {...aria}
        ref={box}
        role="combobox"
        autoComplete="off"
        aria-expanded={open && found.length > 0}
        aria-controls={list}
        aria-autocomplete="list"
        aria-activedescendant={open && at >= 0 ? `${list}-${at}` : undefined}
        value={(free ? null : typed) ?? text}
        placeholder={placeholder}
        onClick={show}
        onFocus={(event) => !free && event.target.select()}
        onKeyDown={hear}
        onBlur={() => {
          close();
          onLeave?.();
        }}
        onChange={(event) => {
          setTyped(event.target.value);
          setOpen(true);
          setAt(free ? -1 : 0);
          onText?.(event.target.value);
        }}
      />
      {open && found.length > 0 && (
        <Popup anchor={box} id={list} role="listbox" label="Offers" onClose={close}>
          {found.map((offer, index) => (
            <div
              key={offer.value}
              id={`${list}-${index}`}
              role="option"
              className="field-offer"
              aria-selected={index === at}
              ref={(element) => {
                if (index === at) element?.scrollIntoView({ block: "nearest" });
              }}
              onPointerDown={(event) => {
                event.preventDefault(); // the focus stays in the box
                take(offer);
              }}
            >
              {offer.value}
              {offer.title && <span className="quiet"> {offer.title}</span>}
            </div>
          ))}
        </Popup>
      )}
    </>
  );
}

/** Offers that hold all words of a text, those that begin with it first. */
export function matching(offers: readonly Offer[], text: string): Offer[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const holding = offers.filter((offer) =>
    words.every((word) => `${offer.value} ${offer.title ?? ""}`.toLowerCase().includes(word)),
  );
  const first = (offer: Offer) => (offer.value.toLowerCase().startsWith(words[0] ?? "") ? 0 : 1);
  return holding.sort((a, b) => first(a) - first(b));
}
