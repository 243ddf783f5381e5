import type { Command } from "../state/command";
import { isActive, shownRun } from "../state/runs";
import { rootDoc } from "../state/documents";
import type { Store } from "../state/store";
import { cancelJob } from "./jobs";

const isRunning = (state: Store) => {
  const job = shownRun(state)?.job;
  return job !== undefined && isActive(job);
};

export const runCommands: Command[] = [
  {
    id: "run", title: "Run", keys: ["Ctrl+Enter"], inFields: true, enabled: (state) => rootDoc(state) !== undefined,
    run: async (state) => void (await state.startRun()),
  },
  {
    id: "cancel", title: "Cancel the run", keys: ["Ctrl+."], inFields: true, enabled: isRunning,
    run: (state) => cancelJob(shownRun(state)!.job),
  },
  { id: "queue", title: "Queue", keys: ["Alt+Q"], inFields: true, run: (state) => state.setSide("queue") },
  { id: "gallery", title: "Gallery", keys: ["Alt+G"], inFields: true, run: (state) => state.setSide("gallery") },
]; // prettier-ignore
