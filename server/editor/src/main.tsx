import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./shell/App";
import { rememberedTheme } from "./shell/theme";
import { useStore } from "./state/store";

useStore.getState().setTheme(rememberedTheme());

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
