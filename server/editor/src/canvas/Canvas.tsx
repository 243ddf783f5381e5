/** The level that is shown, as nodes and links. */

import {
  Background, BackgroundVariant, type EdgeChange, Panel, ReactFlow, type ReactFlowInstance, SelectionMode, type Viewport,
} from "@xyflow/react"; // prettier-ignore
import { type KeyboardEvent, type MouseEvent, Suspense, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { levelAt } from "../graph/graph";
import { allCommands, keysOf, perform } from "../state/command";
import { lazily } from "../parts/lazily";
import { useStore } from "../state/store";
import { rootDoc } from "../state/documents";
import type { Level } from "../state/level";
import { boxesOf, inspectOutput } from "./actions";
import { canvas, useCanvas } from "./canvasState";
import { ConnectionLine } from "./ConnectionLine";
import { beginDrawing, beginMoving, drawn, endClicking, endDrawing, endMoving, moved } from "./drawing";
import { Far, isFar } from "./far";
import { type FlowLink, type FlowNode, flowLinks } from "./flow";
import { FrameView } from "./FrameView";
import { isOpenable, openNode } from "./levels";
import { openMenuAt, openNodeMenu } from "./menus";
import { MiniMap } from "./MiniMap";
import { useFlowNodes } from "./nodeChanges";
import { NodeView } from "./NodeView";
import { NoteView } from "./NoteView";
import { type Positions, layOutLevel, positionsOf, remember } from "./placement";
import { sizeOf } from "./size";
import { ToolBar } from "./ToolBar";
import { useClipboard } from "./useClipboard";
import { useShownLevel } from "./useShownLevel";
import { LEAST_ZOOM, MOST_ZOOM, viewportFor } from "./view";
import "@xyflow/react/dist/style.css";
import "./canvas.css";

const TYPES = { graph: NodeView, note: NoteView, frame: FrameView };
const Overlays = lazily(() => import("./Overlays"));

export function Canvas() {
  const level = useShownLevel();
  const positions = usePositions(level);
  const told = useCanvas((state) => state.told);
  const element = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => canvas.set({ level }), [level]);
  useClipboard();
  return (
    <div className="canvas" ref={element} onDoubleClick={openPalette} onKeyDownCapture={hearFirst}>
      {level && positions && <Flow key={keyOf(level)} level={level} positions={positions} element={element.current!} />}
      <Suspense fallback={null}>
        <Overlays />
      </Suspense>
      <p className="hidden-text" aria-live="polite">
        {told}
      </p>
    </div>
  );
}

function keyOf({ crumb }: Level): string {
  return [...crumb.via, crumb.doc, ...crumb.body].join("/");
}

/** Where nodes are; null for the moment that the first layout of a level takes. */
function usePositions(level: Level | null): Positions | null {
  const [version, setVersion] = useState(0);
  const positions = useMemo(() => level && positionsOf(level), [level, version]);
  useEffect(() => {
    if (level === null || positions !== null) return;
    let left = false;
    const collapsed = new Set(levelAt(level.file, level.crumb.body)?.layout?.collapsed);
    void layOutLevel(level, (node) => sizeOf(node, false, collapsed.has(node.id))).then((made) => {
      if (left) return;
      remember(level.crumb, made);
      setVersion((before) => before + 1);
    });
    return () => {
      left = true;
    };
  }, [level, positions]);
  return positions;
}

/** Keys with Alt and an arrow are commands; without this, React Flow would take them for plain arrows. */
function hearFirst(event: KeyboardEvent): void {
  if (!event.altKey || !event.key.startsWith("Arrow")) return;
  const keys = keysOf(event.nativeEvent);
  const command = allCommands().find((one) => one.keys?.includes(keys) && (one.enabled?.(useStore.getState()) ?? true));
  if (command === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  void perform(command);
}

function openPalette(event: MouseEvent): void {
  if (!(event.target instanceof Element) || !event.target.classList.contains("react-flow__pane")) return;
  const { x, y } = canvas.get().flow?.screenToFlowPosition({ x: event.clientX, y: event.clientY }) ?? { x: 0, y: 0 };
  canvas.set({ palette: { at: [event.clientX, event.clientY], drop: [x, y], link: null } });
}

type FlowProps = { level: Level; positions: Positions; element: HTMLElement };

function Flow({ level, positions, element }: FlowProps) {
  const check = useStore((state) => state.checks[rootDoc(state)?.name ?? ""]);
  const selection = useStore((state) => state.selection);
  const unfolded = useCanvas((state) => state.unfolded);
  const [nodes, onNodesChange] = useFlowNodes(level, { positions, check, unfolded, selection });
  const [edges, onEdgesChange] = useFlowLinks(level);
  const [start] = useState(() => viewportFor(boxesOf(nodes), element));
  const [far, setFar] = useState(() => isFar(start.zoom));
  const hearMove = useCallback((_: unknown, { zoom }: Viewport) => setFar(isFar(zoom)), []);
  return (
    <Far value={far}><ReactFlow
      nodes={nodes} edges={edges} nodeTypes={TYPES} onNodesChange={onNodesChange} onEdgesChange={onEdgesChange} onInit={putFlow}
      onMove={hearMove} edgesReconnectable={!far}
      defaultViewport={start} minZoom={LEAST_ZOOM} maxZoom={MOST_ZOOM} onlyRenderVisibleElements zoomOnDoubleClick={false}
      deleteKeyCode={null} multiSelectionKeyCode={MULTI} selectionMode={SelectionMode.Partial} edgesFocusable={false} elevateNodesOnSelect
      onConnect={drawn} onConnectStart={beginDrawing} onConnectEnd={endDrawing} connectionLineComponent={ConnectionLine}
      onClickConnectStart={beginDrawing} onClickConnectEnd={endClicking}
      onReconnect={moved} onReconnectStart={beginMoving} onReconnectEnd={endMoving} reconnectRadius={12} connectionRadius={22}
      onNodeDoubleClick={enter} onNodeContextMenu={nodeMenu} onPaneContextMenu={paneMenu} onEdgeContextMenu={linkMenu} onEdgeClick={inspectLink}
      attributionPosition="top-right" onSelectionContextMenu={selectionMenu} onPaneClick={unselectLinks} onError={report} ariaLabelConfig={WORDS}
    >
      <Background variant={BackgroundVariant.Dots} gap={24} size={1.4} color="var(--dots)" />
      <MiniMap nodes={nodes} />
      <Panel position="bottom-left">
        <ToolBar />
      </Panel>
      {level.graph.nodes.length <= 2 && <Panel position="top-center"><p className="canvas-hint">Double click the canvas, or press Ctrl+K, to add a node.</p></Panel>}
    </ReactFlow></Far>
  ); // prettier-ignore
}

const MULTI = ["Control", "Meta"];

const WORDS = {
  "node.a11yDescription.default": "Enter opens loops and sub-workflows, arrows move the node, L links it, Shift+F10 opens its menu.",
  "node.a11yDescription.keyboardDisabled": "Enter opens loops and sub-workflows, L links the node, Shift+F10 opens its menu.",
};

function putFlow(flow: ReactFlowInstance<FlowNode, FlowLink>): void {
  canvas.set({ flow });
}

function useFlowLinks(level: Level): [FlowLink[], (changes: EdgeChange<FlowLink>[]) => void] {
  const chosen = useCanvas((state) => state.links);
  const before = useRef<FlowLink[]>([]);
  const edges = useMemo(() => (before.current = flowLinks(level.graph, new Set(chosen), before.current)), [level.graph, chosen]);
  const hear = useCallback((changes: EdgeChange<FlowLink>[]) => {
    const links = new Set(canvas.get().links);
    for (const one of changes) {
      if (one.type !== "select") continue;
      if (one.selected) links.add(one.id);
      else links.delete(one.id);
    }
    canvas.set({ links: [...links] });
  }, []);
  return [edges, hear];
}

/** A link to a port that is new is drawn as soon as the browser measured its socket: no news (008) until then. */
function report(code: string, message: string): void {
  if (code !== "008") console.warn(message);
}

function unselectLinks(): void {
  if (canvas.get().links.length > 0) canvas.set({ links: [] });
}

function enter(event: MouseEvent, node: FlowNode): void {
  const onControl = event.target instanceof Element && event.target.closest("input, textarea, select, button") !== null;
  if (node.type === "graph" && !onControl && isOpenable(node.data.node)) void openNode(node.data.node);
}

function nodeMenu(event: MouseEvent, node: FlowNode): void {
  openNodeMenu(event, node.id);
}

function paneMenu(event: MouseEvent | globalThis.MouseEvent): void {
  openMenuAt(event, { about: "pane" });
}

function linkMenu(event: MouseEvent, edge: FlowLink): void {
  openMenuAt(event, { about: "link", link: edge.id });
}

function inspectLink(_: MouseEvent, edge: FlowLink): void {
  inspectOutput(edge.source, edge.sourceHandle!);
}

function selectionMenu(event: MouseEvent): void {
  openMenuAt(event, { about: "node" });
}
