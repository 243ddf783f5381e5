/** Dialogs, by the names that `openDialog` takes. Each is fetched when it is first opened. */

import { type ComponentType, type LazyExoticComponent, Suspense } from "react";
import { lazily } from "../parts/lazily";
import { useStore } from "../state/store";

/** A dialog shows a `<Modal>`; `about` is what it was opened for. */
export type DialogProps = { about: unknown };

const DIALOGS: Record<string, LazyExoticComponent<ComponentType<DialogProps>>> = {
  shortcuts: lazily(() => import("./ShortcutsDialog")),
  login: lazily(() => import("../files/LoginDialog")),
  save: lazily(() => import("../files/SaveDialog")),
  templates: lazily(() => import("../files/TemplatesDialog")),
  merge: lazily(() => import("../files/MergeDialog")),
  rename: lazily(() => import("../files/RenameDialog")),
  delete: lazily(async () => ({ default: (await import("../files/ConfirmDialog")).DeleteDialog })),
  discard: lazily(async () => ({ default: (await import("../files/ConfirmDialog")).DiscardDialog })),
  close: lazily(async () => ({ default: (await import("../files/ConfirmDialog")).CloseDialog })),
  broken: lazily(() => import("../files/BrokenDialog")),
  "use-picture": lazily(() => import("../files/UsePictureDialog")),
  compare: lazily(() => import("../run/CompareDialog")),
  picture: lazily(() => import("../run/PictureDialog")),
  branch: lazily(() => import("../loop/BranchDialog")),
  mask: lazily(() => import("../forms/MaskDialog")),
};

export function Dialogs() {
  const dialog = useStore((state) => state.dialog);
  const Shown = dialog === null ? undefined : DIALOGS[dialog.name];
  if (Shown === undefined) return null;
  return (
    <Suspense fallback={null}>
      <Shown about={dialog?.about} />
    </Suspense>
  );
}
