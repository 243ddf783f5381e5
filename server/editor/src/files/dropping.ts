/** Files that are dropped on the page, and texts of workflows that are pasted into it. */

import { inField } from "../parts/inField";
import { useStore } from "../state/store";
import { isWorkflow, openFiles, openTextOf } from "./opening";

/** Hears drops and pastes that nothing else on the page takes; returns what ends that. */
export function hearDrops(): () => void {
  const heard = { dragover, drop, dragleave, paste } as const;
  for (const [name, handler] of Object.entries(heard)) window.addEventListener(name, handler as EventListener);
  return () => {
    for (const [name, handler] of Object.entries(heard)) window.removeEventListener(name, handler as EventListener);
  };
}

function holdsFiles(event: DragEvent): boolean {
  return event.dataTransfer?.types.includes("Files") ?? false;
}

function dragover(event: DragEvent): void {
  const taken = event.defaultPrevented || !holdsFiles(event);
  document.body.classList.toggle("dropping", !taken);
  if (taken) return;
  event.preventDefault();
  event.dataTransfer!.dropEffect = "copy";
}

function dragleave(event: DragEvent): void {
  if (event.relatedTarget === null) document.body.classList.remove("dropping");
}

function drop(event: DragEvent): void {
  document.body.classList.remove("dropping");
  if (event.defaultPrevented || !holdsFiles(event)) return;
  event.preventDefault();
  void openFiles([...event.dataTransfer!.files]);
}

function paste(event: ClipboardEvent): void {
  if (event.defaultPrevented || document.querySelector("dialog[open]") || inField(event.target)) return;
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length > 0) {
    event.preventDefault();
    return void openFiles(files);
  }
  const text = event.clipboardData?.getData("text/plain") ?? "";
  if (!isWorkflow(text)) return;
  event.preventDefault();
  openTextOf("pasted.json", text);
  useStore.getState().say("success", "Opened the workflow from the clipboard.");
}
