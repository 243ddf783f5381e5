export type Tool = "brush" | "eraser" | "fill";

type Given = {
  tool: Tool;
  setTool(tool: Tool): void;
  size: number;
  setSize(size: number): void;
  largest: number;
  hardness: number;
  setHardness(hardness: number): void;
  undo?: () => void;
  redo?: () => void;
  fillAll(): void;
  clear(): void;
  invert(): void;
  nearer(by: 1 | -1): void;
  fit(): void;
};

const TOOLS: Record<Tool, { words: string; key: string }> = {
  brush: { words: "Brush", key: "B" }, eraser: { words: "Eraser", key: "E" }, fill: { words: "Fill", key: "F" },
}; // prettier-ignore

/** What a mask is painted with. */
export function MaskTools(given: Given) {
  return (
    <div className="mask-tools" role="toolbar" aria-label="Tools">
      {Object.entries(TOOLS).map(([name, { words, key }]) => (
        <button
          key={name}
          aria-pressed={name === given.tool}
          title={`Key ${key}`}
          onClick={() => given.setTool(name as Tool)}
        >
          {words}
        </button>
      ))}
      <label>
        Size
        <input
          type="range"
          min={1}
          max={given.largest}
          value={given.size}
          onChange={(event) => given.setSize(event.target.valueAsNumber)}
        />
        <span className="quiet">{given.size}</span>
      </label>
      <label>
        Hardness
        <input
          type="range"
          min={0}
          max={1}
          step={0.05}
          value={given.hardness}
          onChange={(event) => given.setHardness(event.target.valueAsNumber)}
        />
      </label>
      <button title="Mark the whole picture" onClick={given.fillAll}>
        All
      </button>
      <button onClick={given.clear}>Clear</button>
      <button onClick={given.invert}>Invert</button>
      <button disabled={!given.undo} onClick={given.undo}>
        Undo
      </button>
      <button disabled={!given.redo} onClick={given.redo}>
        Redo
      </button>
      <button className="icon" aria-label="Zoom out" onClick={() => given.nearer(-1)}>
        −
      </button>
      <button className="icon" aria-label="Zoom in" onClick={() => given.nearer(1)}>
        +
      </button>
      <button onClick={given.fit}>Fit</button>
    </div>
  );
}
