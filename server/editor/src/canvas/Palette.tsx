import { useMemo, useState } from "react";
import { typeColor } from "../parts/typeColor";
import { plain } from "../graph/types";
import { perform } from "../state/command";
import { useStore } from "../state/store";
import { addOffered } from "./adding";
import { canvas, useCanvas } from "./canvasState";
import { categoryColor } from "./categoryColor";
import { Combo } from "./Combo";
import { type Offer, type OfferPort, found, offersOf, portFor, recentOffers, rememberOffer } from "./offers";
import { Popover } from "./Popover";
import "./palette.css";

/** Searches nodes, workflows and commands; what is chosen is put where the palette was asked for. */
export function Palette() {
  const request = useCanvas((state) => state.palette);
  return request && <OpenPalette key={request.drop?.join() ?? "middle"} />;
}

const close = () => canvas.set({ palette: null });

function OpenPalette() {
  const request = canvas.get().palette!;
  const { link } = request;
  const [query, setQuery] = useState("");
  const nodeTypes = useStore((state) => state.nodeTypes);
  const workflows = useStore((state) => state.workflows);
  const [recent] = useState(recentOffers);
  const offers = useMemo(() => offersOf(useStore.getState()).filter((one) => isEnabled(one)), [nodeTypes, workflows]);
  const shown = useMemo(() => found(offers, query, recent, link).map((offer) => grouped(offer, query.trim() !== "" || link !== null, recent)), [offers, query, recent, link]);
  const choose = (offer: Offer) => {
    close();
    rememberOffer(offer.id);
    if (offer.command) void perform(offer.command);
    else void addOffered(offer, request);
  };
  const label = link ? `Nodes that ${link.side === "output" ? "take" : "give"} ${plain(link.type)}` : "Add a node or run a command";
  return (
    <Popover at={request.at} label={label} className="palette" onClose={close}>
      <Combo
        label={label} placeholder={link ? `${label}…` : "Name, type, words of the documentation…"} query={query} options={shown} onQuery={setQuery}
        onChoose={choose} onClose={close} show={(offer) => <OfferLine offer={offer} link={link ? (portFor(offer, link)?.name ?? "") : ""} />}
        about={(offer) => <About offer={offer} />}
      />
    </Popover>
  ); // prettier-ignore
}

function isEnabled(offer: Offer): boolean {
  return offer.command?.id !== "palette" && (offer.command?.enabled?.(useStore.getState()) ?? true);
}

function grouped(offer: Offer, ranked: boolean, recent: readonly string[]): Offer & { group?: string } {
  if (ranked) return offer;
  return { ...offer, group: recent.includes(offer.id) ? "Recent" : offer.command ? "Commands" : offer.category };
}

function OfferLine({ offer, link }: { offer: Offer; link: string }) {
  return (
    <span className="offer" style={{ "--category": categoryColor(offer.category) } as object}>
      <i className="offer-strip" aria-hidden="true" />
      <span className="offer-title">{offer.title}</span>
      <span className="offer-category">{link ? `· ${link}` : offer.command ? (offer.command.keys?.[0] ?? "command") : offer.category}</span>
    </span>
  );
}

function About({ offer }: { offer: Offer }) {
  return (
    <>
      <p className="about-title">{offer.title}</p>
      <p className="about-doc">{offer.command ? "A command." : offer.doc || "No documentation."}</p>
      <Ports title="Takes" ports={offer.inputs} />
      <Ports title="Gives" ports={offer.outputs} />
    </>
  );
}

const MOST_PORTS = 10;

function Ports({ title, ports }: { title: string; ports: readonly OfferPort[] }) {
  if (ports.length === 0) return null;
  return (
    <div className="about-ports">
      <span className="quiet">{title}</span>
      {ports.slice(0, MOST_PORTS).map((port) => (
        <span key={port.name} className="about-port">
          <i style={{ background: typeColor(port.type) }} aria-hidden="true" />
          {port.name === "output" ? "" : port.name} <span className="quiet">{plain(port.type)}</span>
        </span>
      ))}
      {ports.length > MOST_PORTS && <span className="quiet">and {ports.length - MOST_PORTS} more</span>}
    </div>
  );
}
