import {
  type KeyboardEvent,
  type PointerEvent,
  type RefObject,
  useEffect,
  useLayoutEffect,
  useMemo,
  useReducer,
  useRef,
  useState,
} from "react";
import type { Area, Brush, Mask, Point } from "./mask";
import { MaskTools, type Tool } from "./MaskTools";
import { usePinch } from "./pinch";
import { drawMask } from "./pixels";

type Given = { picture: HTMLImageElement | null; mask: Mask };

/** How much larger or smaller a step of zoom makes the sheet, and the bounds of it. */
const ZOOM = 1.25;
const SMALLEST = 0.05;
const LARGEST = 32;

/** The sheet: the picture, the mask in stripes over it, and the brush as a circle. */
export function MaskPainter({ picture, mask }: Given) {
  const [tool, setTool] = useState<Tool>("brush");
  const [size, setSize] = useState(() => Math.max(2, Math.round(Math.min(mask.size.width, mask.size.height) / 8)));
  const [hardness, setHardness] = useState(0.8);
  const [zoom, setZoom] = useState(1);
  const [cursor, setCursor] = useState<Point>({ x: mask.size.width / 2, y: mask.size.height / 2 });
  const [version, renew] = useReducer((count: number) => count + 1, 0);
  // The mask is one object that is painted into; its version says when its share has to be counted again.
  const share = useMemo(() => mask.share, [mask, version]);
  const canvas = useRef<HTMLCanvasElement>(null);
  const frame = useRef<HTMLDivElement>(null);
  const last = useRef<Point | null>(null);
  const pointer = useRef<number | null>(null); // a second finger paints nothing
  const brush: Brush = { size, hardness, erases: tool === "eraser" };

  const draw = (area: Area) => canvas.current && drawMask(canvas.current, mask, area);
  useEffect(() => {
    if (canvas.current) drawMask(canvas.current, mask, mask.whole);
  }, [mask]);
  const fit = () => {
    const room = frame.current;
    if (room) setZoom(Math.min(room.clientWidth / mask.size.width, room.clientHeight / mask.size.height));
  };
  useLayoutEffect(fit, [mask]);
  useWheelZoom(frame, setZoom);
  const pinch = usePinch(frame, {
    begin: () => {
      if (pointer.current === null) return;
      last.current = null;
      whole(() => mask.abandon()); // the first finger was no brush
    },
    zoom: (by) => setZoom((now) => bounded(now * by)),
  });
  const keepMiddle = useKeptMiddle(frame, zoom);

  const whole = (action: () => void) => {
    action();
    draw(mask.whole);
    renew();
  };
  const changed = (action: () => void) =>
    whole(() => {
      mask.begin();
      action();
    });
  const start = (point: Point, scale = 1) => {
    if (tool === "fill") return changed(() => mask.fill(point));
    mask.begin();
    last.current = point;
    draw(mask.stroke(point, point, { ...brush, size: size * scale }));
  };
  const go = (point: Point, scale = 1) => {
    if (last.current !== null) draw(mask.stroke(last.current, point, { ...brush, size: size * scale }));
    if (last.current !== null) last.current = point;
    setCursor(point);
  };
  const stop = () => {
    if (last.current === null) return;
    last.current = null;
    renew();
  };
  const lift = (event: PointerEvent) => {
    if (pointer.current !== event.pointerId) return;
    pointer.current = null;
    stop();
  };
  const hear = (event: KeyboardEvent) => {
    const far = event.shiftKey ? 1 : Math.max(1, Math.round(size / 4));
    const to = arrow(event.key, cursor, far, mask);
    if (to) go(to);
    else if (event.key === " ") {
      if (!event.repeat) start(cursor);
    } else return;
    event.preventDefault();
  };
  const place = (event: PointerEvent): Point => {
    const box = canvas.current!.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * mask.size.width,
      y: ((event.clientY - box.top) / box.height) * mask.size.height,
    };
  };
  return (
    <div className="column" onKeyDown={(event) => shortcut(event, { mask, setTool, setSize, whole })}>
      <MaskTools
        {...{ tool, setTool, size, setSize, hardness, setHardness, fit }}
        largest={Math.max(mask.size.width, mask.size.height)}
        undo={mask.undoable ? () => whole(() => mask.undo()) : undefined}
        redo={mask.redoable ? () => whole(() => mask.redo()) : undefined}
        fillAll={() => changed(() => mask.setAll(255))}
        clear={() => changed(() => mask.setAll(0))}
        invert={() => changed(() => mask.invert())}
        nearer={(by) => setZoom((now) => bounded(now * ZOOM ** by))}
      />
      <div className="mask-frame" ref={frame} onScroll={keepMiddle} {...pinch}>
        <div className="mask-sheet" style={{ width: mask.size.width * zoom, height: mask.size.height * zoom }}>
          {picture && <img src={picture.src} alt="" draggable={false} />}
          <canvas
            ref={canvas}
            width={mask.size.width}
            height={mask.size.height}
            tabIndex={0}
            role="application"
            aria-label="Mask. Arrow keys move the brush, Space paints, [ and ] change its size."
            aria-describedby="mask-state"
            onPointerDown={(event) => {
              if (event.button !== 0 || pointer.current !== null) return;
              pointer.current = event.pointerId;
              event.currentTarget.setPointerCapture(event.pointerId);
              start(place(event), pressure(event));
            }}
            onPointerMove={(event) => {
              if (pointer.current === null || pointer.current === event.pointerId) go(place(event), pressure(event));
            }}
            onPointerUp={lift}
            onPointerCancel={lift}
            onKeyDown={hear}
            onKeyUp={(event) => event.key === " " && stop()}
            onBlur={stop}
          />
          <span
            className="mask-brush"
            style={{ left: cursor.x * zoom, top: cursor.y * zoom, width: size * zoom, height: size * zoom }}
          />
        </div>
      </div>
      <p className="quiet" id="mask-state" role="status">
        {mask.size.width} × {mask.size.height} pixels, {(100 * share).toFixed(1)} % to change. Brush at{" "}
        {Math.round(cursor.x)}, {Math.round(cursor.y)}.
      </p>
    </div>
  );
}

function bounded(zoom: number): number {
  return Math.min(LARGEST, Math.max(SMALLEST, zoom));
}

/** A pen that is pressed lightly paints a thinner line. */
function pressure(event: PointerEvent): number {
  return event.pointerType === "pen" && event.pressure > 0 ? event.pressure : 1;
}

function arrow(key: string, { x, y }: Point, far: number, { size }: Mask): Point | null {
  const by = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[key];
  if (by === undefined) return null;
  return { x: Math.min(size.width, Math.max(0, x + by[0]!)), y: Math.min(size.height, Math.max(0, y + by[1]!)) };
}

type Parts = {
  mask: Mask;
  setTool(tool: Tool): void;
  setSize(next: (size: number) => number): void;
  whole(action: () => void): void;
};

/** Keys that work anywhere in the painter. */
function shortcut(event: KeyboardEvent, { mask, setTool, setSize, whole }: Parts): void {
  const typing = event.target instanceof HTMLInputElement;
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && key === "z") whole(() => (event.shiftKey ? mask.redo() : mask.undo()));
  else if ((event.ctrlKey || event.metaKey) && key === "y") whole(() => mask.redo());
  else if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  else if (key === "[") setSize((size) => Math.max(1, Math.round(size / ZOOM)));
  else if (key === "]") setSize((size) => Math.ceil(size * ZOOM));
  else if (key === "b") setTool("brush");
  else if (key === "e") setTool("eraser");
  else if (key === "f") setTool("fill");
  else return;
  event.preventDefault();
}

/** Ctrl and the wheel zoom; the wheel alone moves the sheet. React's own wheel events cannot be kept from the page. */
function useWheelZoom(frame: RefObject<HTMLElement | null>, setZoom: (next: (zoom: number) => number) => void): void {
  useEffect(() => {
    const element = frame.current;
    const turn = (event: WheelEvent) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      setZoom((zoom) => bounded(zoom * ZOOM ** (event.deltaY < 0 ? 1 : -1)));
    };
    element?.addEventListener("wheel", turn, { passive: false });
    return () => element?.removeEventListener("wheel", turn);
  }, [frame, setZoom]);
}

/** What is in the middle of the frame stays there when the zoom changes. */
function useKeptMiddle(frame: RefObject<HTMLElement | null>, zoom: number): () => void {
  const middle = useRef({ x: 0.5, y: 0.5 });
  useLayoutEffect(() => {
    const room = frame.current;
    if (!room) return;
    room.scrollLeft = middle.current.x * room.scrollWidth - room.clientWidth / 2;
    room.scrollTop = middle.current.y * room.scrollHeight - room.clientHeight / 2;
  }, [frame, zoom]);
  return () => {
    const room = frame.current;
    if (!room) return;
    middle.current = {
      x: (room.scrollLeft + room.clientWidth / 2) / room.scrollWidth,
      y: (room.scrollTop + room.clientHeight / 2) / room.scrollHeight,
    };
  };
}
