/** Dialogs, by the names that `openDialog` takes. Each is fetched when it is first opened. */

import { type ComponentType, type LazyExoticComponent, Suspense, lazy } from "react";
import { useStore } from "../state/store";

/** A dialog shows a `<Modal>`; `about` is what it was opened for. */
export type DialogProps = { about: unknown };

const DIALOGS: Record<string, LazyExoticComponent<ComponentType<DialogProps>>> = {
  shortcuts: lazy(() => import("./ShortcutsDialog")),
  login: lazy(() => import("../files/LoginDialog")),
  save: lazy(() => import("../files/SaveDialog")),
  templates: lazy(() => import("../files/TemplatesDialog")),
  merge: lazy(() => import("../files/MergeDialog")),
  rename: lazy(() => import("../files/RenameDialog")),
  delete: lazy(async () => ({ default: (await import("../files/ConfirmDialog")).DeleteDialog })),
  discard: lazy(async () => ({ default: (await import("../files/ConfirmDialog")).DiscardDialog })),
  close: lazy(async () => ({ default: (await import("../files/ConfirmDialog")).CloseDialog })),
  broken: lazy(() => import("../files/BrokenDialog")),
  "use-picture": lazy(() => import("../files/UsePictureDialog")),
  compare: lazy(() => import("../run/CompareDialog")),
  picture: lazy(() => import("../run/PictureDialog")),
  branch: lazy(() => import("../loop/BranchDialog")),
  mask: lazy(() => import("../forms/MaskDialog")),
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
