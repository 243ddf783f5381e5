/**
 * The whole level in small, with what is in view of it: dragging there moves the view, the wheel zooms.
 *
 * React Flow's own map listens once for each node to each step of a move; this one draws a path for each colour, and
 * writes what a move changes straight into its picture.
 */

import { Panel, type ReactFlowState, type Rect, useReactFlow, useStoreApi } from "@xyflow/react";
import { type PointerEvent, type RefObject, useEffect, useLayoutEffect, useMemo, useRef } from "react";
import { boxOf, boxesOf } from "./actions";
import { categoryColor } from "./categoryColor";
import type { FlowNode, GraphFlowNode } from "./flow";

export function MiniMap({ nodes }: { nodes: readonly FlowNode[] }) {
  const picture = useRef<SVGSVGElement>(null);
  const shapes = useMemo(() => shapesOf(nodes), [nodes]);
  useDrawnView(picture, nodes);
  useWheel(picture);
  const drag = useDrag();
  return (
    <Panel position="bottom-right" className="react-flow__minimap">
      <svg ref={picture} role="img" aria-label="Mini-map" onPointerDown={drag} onPointerMove={drag}>
        {shapes.map(([color, path]) => (
          <path key={color} d={path} fill={color} />
        ))}
        <path className="react-flow__minimap-mask" fillRule="evenodd" />
      </svg>
    </Panel>
  );
}

/** The nodes of each colour as one path. Notes and frames are not drawn. */
function shapesOf(nodes: readonly FlowNode[]): [string, string][] {
  const made = new Map<string, string>();
  const boxes = boxesOf(nodes);
  nodes.forEach((node, at) => {
    if (node.type !== "graph") return;
    const color = colorOf(node);
    made.set(color, (made.get(color) ?? "") + rectangle(boxes[at]!));
  });
  return [...made];
}

function colorOf({ data: { node } }: GraphFlowNode): string {
  return node.entry === null ? "var(--line-strong)" : categoryColor(node.category);
}

function rectangle({ x, y, width, height }: Rect): string {
  return `M${x},${y}h${width}v${height}h${-width}z`;
}

/** Keeps what is in view drawn, and all of it within the picture. */
function useDrawnView(picture: RefObject<SVGSVGElement | null>, nodes: readonly FlowNode[]): void {
  const store = useStoreApi();
  useLayoutEffect(() => {
    const level = boxOf(boxesOf(nodes));
    const draw = () => {
      const view = viewOf(store.getState());
      const whole = level ? boxOf([level, view])! : view;
      const { x, y, width, height } = grown(whole, Math.max(whole.width, whole.height) / 25);
      picture.current!.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
      picture.current!.lastElementChild!.setAttribute("d", rectangle(grown(whole, width + height)) + rectangle(view));
    };
    draw();
    return store.subscribe(draw);
  }, [store, picture, nodes]);
}

function viewOf({ transform: [x, y, zoom], width, height }: ReactFlowState): Rect {
  return { x: -x / zoom, y: -y / zoom, width: width / zoom, height: height / zoom };
}

function grown({ x, y, width, height }: Rect, by: number): Rect {
  return { x: x - by, y: y - by, width: width + 2 * by, height: height + 2 * by };
}

/** Hears the pointer: what is in view follows it. */
function useDrag(): (event: PointerEvent<SVGSVGElement>) => void {
  const { getViewport, setViewport } = useReactFlow();
  const last = useRef([0, 0]);
  return (event) => {
    const { currentTarget: picture, clientX, clientY } = event;
    const [x, y] = last.current as [number, number];
    last.current = [clientX, clientY];
    if (event.type === "pointerdown") return picture.setPointerCapture(event.pointerId);
    if (!picture.hasPointerCapture(event.pointerId)) return;
    const at = getViewport();
    const scale = at.zoom / picture.getScreenCTM()!.a;
    void setViewport({ ...at, x: at.x - (clientX - x) * scale, y: at.y - (clientY - y) * scale });
  };
}

/** How much a notch of the wheel zooms: as it does on the canvas. Some browsers count lines. */
const PER_PIXEL = 0.002;
const PER_LINE = 0.05;

function useWheel(picture: RefObject<SVGSVGElement | null>): void {
  const { getZoom, zoomTo } = useReactFlow();
  useEffect(() => {
    const hear = (event: WheelEvent) => {
      event.preventDefault(); // else Ctrl and the wheel would zoom the page, which React's listener cannot hinder
      const speed = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? PER_LINE : PER_PIXEL;
      void zoomTo(getZoom() * 2 ** (-event.deltaY * speed));
    };
    const element = picture.current!;
    element.addEventListener("wheel", hear);
    return () => element.removeEventListener("wheel", hear);
  }, [picture, getZoom, zoomTo]);
}
