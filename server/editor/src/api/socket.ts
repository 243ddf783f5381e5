/**
 * The WebSocket of the server: events of watched jobs, and news of files that change on its disk.
 *
 * It connects again by itself, ever more slowly, and then goes on after the last event of each job that was heard.
 */

import type { JobEvent } from "./types";

export type News = "workflows" | "plugins";

export type Listener = {
  /** An event of a watched job; `preview` is the small picture that came with it. Events come in order. */
  event?(event: JobEvent, preview?: Blob): void;
  /** Workflows or plugins changed on the server's disk: their names. */
  changed?(what: News, names: readonly string[]): void;
  /** A job cannot be watched, in the server's words. */
  refused?(job: string, words: string): void;
  /** The connection stands; `again` after it had been lost. */
  open?(again: boolean): void;
  /** The connection is lost, or could not be made. */
  close?(): void;
};

const PROTOCOL = "stepgraph.v1";
const ID_BYTES = 32;
const NUMBER_BYTES = 8;

/** Pauses between attempts to connect, in milliseconds: doubled each time. */
export const FIRST_PAUSE = 400;
export const LONGEST_PAUSE = 8000;

type Said = Partial<JobEvent> & { error?: string };

export class LiveSocket {
  private socket: WebSocket | null = null;
  private readonly listeners = new Set<Listener>();
  /** The number of the last event that was heard of each watched job. */
  private readonly after = new Map<string, number>();
  private pause = FIRST_PAUSE;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private wasOpen = false;

  /** Connects, if that was not done yet; from then on it stays connected as well as it can. */
  connect(): void {
    if (this.socket !== null || typeof WebSocket === "undefined") return;
    clearTimeout(this.timer);
    const address = new URL("/api/v1/ws", window.location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address, PROTOCOL);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.opened();
    socket.onmessage = ({ data }) => this.take(data as string | ArrayBuffer);
    socket.onclose = () => this.closed();
    this.socket = socket;
  }

  /** Hears everything from now on; returns what ends that. */
  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Watches a job: its events with numbers above `after` come to the listeners. */
  watch(job: string, after = 0): void {
    this.after.set(job, after);
    this.send({ watch: job, after });
    this.connect();
  }

  unwatch(job: string): void {
    if (this.after.delete(job)) this.send({ unwatch: job });
  }

  get isOpen(): boolean {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  private send(command: object): void {
    if (this.isOpen) this.socket!.send(JSON.stringify(command));
  }

  private opened(): void {
    this.pause = FIRST_PAUSE;
    for (const [job, after] of this.after) this.send({ watch: job, after });
    for (const listener of this.listeners) listener.open?.(this.wasOpen);
    this.wasOpen = true;
  }

  private closed(): void {
    this.socket = null;
    this.waiting = null;
    for (const listener of this.listeners) listener.close?.();
    this.timer = setTimeout(() => this.connect(), this.pause);
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE);
  }

  /** A preview event, whose picture is the next message. */
  private waiting: JobEvent | null = null;

  private take(data: string | ArrayBuffer): void {
    if (typeof data !== "string") return this.picture(data);
    this.release();
    const said = JSON.parse(data) as Said;
    if (said.error !== undefined) return this.refused(said.job ?? "", said.error);
    if (said.event === undefined) return;
    if (said.job === undefined) return this.changed(said.event as News, said.data?.changed as string[]);
    const event = said as JobEvent;
    if (event.event === "preview") this.waiting = event;
    else this.tell(event);
  }

  private picture(data: ArrayBuffer): void {
    const event = this.waiting;
    const { job, n, png } = readPreview(data);
    if (event === null || event.job !== job || event.n !== n) return;
    this.waiting = null;
    this.tell(event, png);
  }

  /** A preview event whose picture left the server's log comes without one. */
  private release(): void {
    const event = this.waiting;
    this.waiting = null;
    if (event !== null) this.tell(event);
  }

  private tell(event: JobEvent, preview?: Blob): void {
    const last = this.after.get(event.job);
    if (last === undefined || event.n <= last) return;
    this.after.set(event.job, event.n);
    for (const listener of this.listeners) listener.event?.(event, preview);
  }

  private changed(what: News, names: readonly string[]): void {
    for (const listener of this.listeners) listener.changed?.(what, names);
  }

  private refused(job: string, words: string): void {
    this.after.delete(job);
    for (const listener of this.listeners) listener.refused?.(job, words);
  }
}

/** A binary message: the job's id (32 bytes), the event's number (8 bytes, big-endian), then the picture. */
export function readPreview(data: ArrayBuffer): { job: string; n: number; png: Blob } {
  const job = new TextDecoder().decode(data.slice(0, ID_BYTES));
  const n = Number(new DataView(data, ID_BYTES, NUMBER_BYTES).getBigUint64(0));
  return { job, n, png: new Blob([data.slice(ID_BYTES + NUMBER_BYTES)], { type: "image/png" }) };
}

/** The one connection of the page. */
export const socket = new LiveSocket();
