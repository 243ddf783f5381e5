/** Keeps the page in step with the server: first start, checks after changes, news of files and plugins, lost connections. */

import { useEffect } from "react";
import { ApiProblem, UNREACHABLE, api } from "../api/client";
import { type News, socket } from "../api/socket";
import type { Plugin } from "../api/types";
import { CHECK_MILLISECONDS } from "../state/checking";
import { rootDoc } from "../state/documents";
import { useStore } from "../state/store";
import { follow, keepAddress, readAddress } from "./address";
import { refresh } from "./disk";
import { hearDrops } from "./dropping";
import { named } from "./reconcile";
import { keepSession, restore } from "./session";

const FIRST = "txt2img";

let starting: Promise<void> | null = null;
let started = false;
/** The page as it was loaded, by its ETag. */
let page: string | null = null;

/** Loads everything and opens what was open, or the first workflow. What the server refuses is told, or asked for. */
export function start(): Promise<void> {
  starting ??= load().finally(() => (starting = null));
  return starting;
}

async function load(): Promise<void> {
  try {
    await loadAll();
    useStore.getState().setOnline(true);
    if (!started) await openFirst();
    started = true;
  } catch (problem) {
    fail(problem);
    if (problem instanceof ApiProblem && problem.status === 401) return;
  }
  socket.connect();
}

function loadAll(): Promise<unknown> {
  const { loadCatalog, loadWorkflows } = useStore.getState();
  return Promise.all([loadCatalog(), loadWorkflows()]);
}

async function openFirst(): Promise<void> {
  const address = readAddress(window.location.hash);
  const drafts = await restore();
  if (address) await follow(address).catch(fail);
  if (useStore.getState().tabs.length === 0) await useStore.getState().open(FIRST);
  keepSession(drafts);
  keepAddress();
  page = await pageVersion();
}

function fail(problem: unknown): void {
  const { say, setOnline, openDialog } = useStore.getState();
  if (!(problem instanceof ApiProblem)) throw problem;
  if (problem.unreachable) setOnline(false);
  else if (problem.status === 401) openDialog("login");
  else say("error", problem.message);
}

/** The version of the page that the server has now. */
async function pageVersion(): Promise<string | null> {
  const response = await fetch("/", { method: "HEAD", cache: "no-store" }).catch(() => null);
  return response?.ok ? response.headers.get("ETag") : null;
}

/** After the connection was lost: everything is read again, and the open files are looked at. */
async function reconnected(): Promise<void> {
  await start();
  if (!started) return;
  const { messages, dismiss } = useStore.getState();
  messages.filter((one) => one.text === UNREACHABLE).forEach((one) => dismiss(one.id));
  await Promise.all(Object.keys(useStore.getState().docs).map((name) => refresh(name).catch(fail)));
  const now = await pageVersion();
  if (page !== null && now !== null && now !== page) {
    useStore.getState().say("info", "The server has another version of the editor now: reload the page to have it. Unsaved work stays.");
    page = now;
  }
}

/** How long after a lost connection it is known whether the server is there (state/following.ts looks). */
const LOOK_MILLISECONDS = 1000;

/** A server that is there, but takes no connection, wants to know who we are. */
function lostConnection(): void {
  setTimeout(() => {
    if (useStore.getState().online && !socket.isOpen) void api.workflows().catch(fail);
  }, LOOK_MILLISECONDS);
}

async function changed(what: News, names: readonly string[]): Promise<void> {
  if (what === "plugins") return pluginsChanged(names);
  await useStore.getState().loadWorkflows();
  const open = names.filter((name) => useStore.getState().docs[name] !== undefined);
  await Promise.all(open.map(refresh));
}

async function pluginsChanged(names: readonly string[]): Promise<void> {
  const { loadCatalog, say } = useStore.getState();
  await loadCatalog();
  for (const name of names) {
    const { kind, text } = news(name, useStore.getState().plugins);
    say(kind, text);
  }
}

/** What became of a plugin, in words. */
export function news(name: string, plugins: readonly Plugin[]): { kind: "info" | "error"; text: string } {
  const plugin = plugins.find((one) => one.name === name);
  if (plugin === undefined) return { kind: "info", text: `The plugin “${name}” is gone; its nodes in workflows stay as placeholders.` };
  if (plugin.error) return { kind: "error", text: `The plugin “${name}” has a mistake: ${plugin.error}` };
  return { kind: "info", text: `The plugin “${name}” is loaded: ${named(plugin.nodes) || "no nodes"}.` };
}

function hear(): () => void {
  return socket.listen({
    changed: (what, names) => void changed(what, names).catch(fail),
    open: (again) => {
      if (again || !started) void reconnected().catch(fail);
    },
    close: lostConnection,
  });
}

export function useLive(): void {
  useEffect(() => {
    const leave = [hear(), hearDrops()];
    return () => leave.forEach((end) => end());
  }, []);
  useChecks();
}

/** Has the checker look at the file that is run, a moment after it or what it needs changed. */
function useChecks(): void {
  const doc = useStore((state) => rootDoc(state)?.name);
  const docs = useStore((state) => state.docs);
  const catalog = useStore((state) => state.catalog);
  const workflows = useStore((state) => state.workflows);
  const check = useStore((state) => state.check);
  useEffect(() => {
    if (doc === undefined) return;
    const timer = setTimeout(() => void check(doc), CHECK_MILLISECONDS);
    return () => clearTimeout(timer);
  }, [doc, docs, catalog, workflows, check]);
}
