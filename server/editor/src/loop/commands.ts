import type { Command } from "../state/command";
import { useStore } from "../state/store";
import { usePlace } from "./place";

/** Opens the dialog that branches after the step that the timeline shows. */
export function branchHere(): void {
  const { step } = usePlace.getState();
  if (step !== null) useStore.getState().openDialog("branch", step);
}

export const loopCommands: Command[] = [
  {
    id: "steps", title: "Steps of the denoising loop", keys: ["T"],
    run: (state) => state.setBottom(state.bottom === "timeline" ? null : "timeline"),
  },
  { id: "branch", title: "Branch from the step that is shown", keys: ["B"], enabled: () => usePlace.getState().step !== null, run: branchHere },
  { id: "inspect", title: "Inspector", run: (state) => state.setSide("inspect") },
]; // prettier-ignore
