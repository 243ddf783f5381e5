/** For the field that a dialog begins with: dialogs look for this attribute, which React's `autoFocus` does not write. */
export function beginsHere(element: HTMLElement | null): void {
  element?.setAttribute("autofocus", "");
}
