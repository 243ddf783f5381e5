import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// While developing, the API is that of a server elsewhere; it takes requests of its own pages alone.
const api = process.env.STEPGRAPH_API ?? "http://127.0.0.1:8188";

// The server sends `dist` as it is, under a policy that allows no inline script.
export default defineConfig({
  plugins: [react()],
  base: "/",
  build: {
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    // React's wrappers do nothing by themselves: components of React Flow that are not used here are left out.
    rolldownOptions: { treeshake: { manualPureFunctions: ["memo", "forwardRef", "createContext"] } },
    license: { fileName: "assets/licenses.md" },
  },
  server: { host: "127.0.0.1", proxy: { "/api": { target: api, ws: true, changeOrigin: true, headers: { origin: api } } } },
  test: { include: ["tests/**/*.test.ts"] },
});
