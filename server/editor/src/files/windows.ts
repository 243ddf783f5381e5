/** The windows of the editor in this browser: each has a name that a reload keeps, and a lock that says that it is there. */

const KEY = "stepgraph.window";
const PATIENCE_MILLISECONDS = 1500;

const lockOf = (window: string) => `stepgraph.window.${window}`;

/** The name of this window. That of a duplicated one, which brings its original's along, is a new one. */
export async function claimWindow(): Promise<string> {
  const former = sessionStorage.getItem(KEY);
  // A page that is just being left holds its lock for a moment more.
  const name = former !== null && (await held(former)) ? former : await fresh();
  sessionStorage.setItem(KEY, name);
  return name;
}

async function fresh(): Promise<string> {
  const name = Math.random().toString(36).slice(2, 12);
  await held(name);
  return name;
}

/** Takes the lock of a window for as long as the page lives; whether that was possible. */
function held(name: string): Promise<boolean> {
  // Browsers give locks to pages of this machine and of https alone. Elsewhere windows cannot be told apart.
  if (!("locks" in navigator)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const keep = () => {
      resolve(true);
      return new Promise<never>(() => undefined);
    };
    const options = { signal: AbortSignal.timeout(PATIENCE_MILLISECONDS) };
    navigator.locks.request(lockOf(name), options, keep).catch(() => resolve(false));
  });
}

/** Which windows are there now. */
export async function windowsThere(): Promise<(window: string) => boolean> {
  if (!("locks" in navigator)) return () => false;
  const { held: locks = [] } = await navigator.locks.query();
  const names = new Set(locks.map((lock) => lock.name));
  return (window) => names.has(lockOf(window));
}
