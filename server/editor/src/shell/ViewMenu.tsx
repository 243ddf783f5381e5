import type { Theme } from "../state/interface";
import { useStore } from "../state/store";
import { rememberTheme } from "./theme";

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };
const SIGN: Record<Theme, string> = { system: "◐", light: "☀", dark: "☾" };

/** Theme and help. */
export function ViewMenu() {
  const theme = useStore((state) => state.theme);
  const setTheme = useStore((state) => state.setTheme);
  const openDialog = useStore((state) => state.openDialog);
  const next = () => {
    setTheme(NEXT[theme]);
    rememberTheme(NEXT[theme]);
  };
  return (
    <>
      <button className="plain icon" aria-label={`Theme: ${theme}`} title={`Theme: ${theme}`} onClick={next}>
        {SIGN[theme]}
      </button>
      <button className="plain icon" aria-label="Keyboard shortcuts" onClick={() => openDialog("shortcuts")}>
        ?
      </button>
    </>
  );
}
