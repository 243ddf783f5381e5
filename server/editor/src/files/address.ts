/** The address bar: `#txt2img` for a file, `#txt2img/denoise/loop` for a level of it. */

import { type Tab, currentTab } from "../state/documents";
import { useStore } from "../state/store";
import { enter } from "../state/showNode";

export type Address = { name: string; via: readonly string[] };

export function writeAddress({ name, via }: Address): string {
  return `#${[name, ...via].map(encodeURIComponent).join("/")}`;
}

/** What an address names; null where it names nothing. */
export function readAddress(hash: string): Address | null {
  try {
    const [name = "", ...via] = hash.replace(/^#/, "").split("/").map(decodeURIComponent);
    return name === "" ? null : { name, via };
  } catch {
    return null; // a `%` that encodes nothing
  }
}

export function addressOf(tab: Tab): Address | null {
  const [root] = tab.crumbs;
  return root === undefined ? null : { name: root.doc, via: tab.crumbs.at(-1)!.via };
}

let following = false;

/** Shows what an address names; what it does not find is told. */
export async function follow({ name, via }: Address): Promise<void> {
  const state = useStore.getState();
  following = true;
  try {
    await state.open(name);
    if (!(await enter(via))) state.say("info", `“${name}” has no level ${via.join(" › ")} any more.`);
  } finally {
    following = false;
    writeShown(false);
  }
}

/** Writes what is shown into the address bar: as a new step that Back returns from, or in the place of the last one. */
function writeShown(asStep: boolean): void {
  const shown = addressOf(currentTab(useStore.getState()));
  document.title = shown === null ? "Stepgraph" : `${[shown.name, ...shown.via].join(" › ")} – Stepgraph`;
  const hash = shown === null ? "" : writeAddress(shown);
  if (hash === window.location.hash) return;
  const address = hash || window.location.pathname;
  if (asStep) window.history.pushState(null, "", address);
  else window.history.replaceState(null, "", address);
}

/** Keeps the address bar and the page together, as long as the page lives. */
export function keepAddress(): void {
  writeShown(false);
  useStore.subscribe((state, before) => {
    if (!following && currentTab(state) !== currentTab(before)) writeShown(before.tabs.length > 0);
  });
  const back = () => {
    const address = readAddress(window.location.hash);
    if (address) void follow(address).catch((problem: Error) => useStore.getState().say("error", problem.message));
  };
  window.addEventListener("popstate", back);
}
