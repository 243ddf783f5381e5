import { useLongPress } from "./longPress";
import { Menu } from "./Menu";
import { Palette } from "./Palette";
import { Questions } from "./Questions";

/** What opens over the canvas. It comes after the first paint. */
export default function Overlays() {
  useLongPress();
  return (
    <>
      <Palette />
      <Menu />
      <Questions />
    </>
  );
}
