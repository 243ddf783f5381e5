/** A mask while it is painted: a brightness for each pixel, white (255) where the picture is to change. */

export type Size = { width: number; height: number };
export type Point = { x: number; y: number };
export type Brush = {
  /** Its diameter in pixels of the picture. */
  size: number;
  /** The share of its radius that is painted in full; beyond it the brush fades out. */
  hardness: number;
  erases: boolean;
};

/** What changed last: what has to be drawn anew. */
export type Area = { left: number; top: number; right: number; bottom: number };

/** Bytes of former states that are kept for undo. */
const MOST_BYTES = 96 << 20;

/** Responsibilities: paint into the mask; remember its former states. */
export class Mask {
  readonly pixels: Uint8Array<ArrayBuffer>;
  private past: Uint8Array<ArrayBuffer>[] = [];
  private future: Uint8Array<ArrayBuffer>[] = [];

  constructor(
    readonly size: Size,
    pixels?: Uint8Array<ArrayBuffer>,
  ) {
    this.pixels = pixels ?? new Uint8Array(size.width * size.height);
  }

  get undoable(): boolean {
    return this.past.length > 0;
  }

  get redoable(): boolean {
    return this.future.length > 0;
  }

  get whole(): Area {
    return { left: 0, top: 0, right: this.size.width, bottom: this.size.height };
  }

  /** The share of the picture that is to change. */
  get share(): number {
    let sum = 0;
    for (let at = 0; at < this.pixels.length; at++) sum += this.pixels[at]!; // `for of` takes ten times as long
    return sum / 255 / Math.max(1, this.pixels.length);
  }

  /** To be called before a change: undo comes back to what is now. */
  begin(): void {
    const most = Math.max(2, Math.floor(MOST_BYTES / Math.max(1, this.pixels.length)));
    this.past = [...this.past, this.pixels.slice()].slice(-most);
    this.future = [];
  }

  /** Takes back the change that goes on, as if it had not begun. */
  abandon(): void {
    const state = this.past.pop();
    if (state !== undefined) this.pixels.set(state);
  }

  undo(): void {
    const state = this.past.pop();
    if (state === undefined) return;
    this.future.push(this.pixels.slice());
    this.pixels.set(state);
  }

  redo(): void {
    const state = this.future.pop();
    if (state === undefined) return;
    this.past.push(this.pixels.slice());
    this.pixels.set(state);
  }

  /** A stroke of the brush from one point to another; within a stroke nothing is painted twice. */
  stroke(from: Point, to: Point, brush: Brush): Area {
    const radius = brush.size / 2;
    const { width, height } = this.size;
    const area = {
      left: Math.max(0, Math.floor(Math.min(from.x, to.x) - radius)),
      top: Math.max(0, Math.floor(Math.min(from.y, to.y) - radius)),
      right: Math.min(width, Math.ceil(Math.max(from.x, to.x) + radius)),
      bottom: Math.min(height, Math.ceil(Math.max(from.y, to.y) + radius)),
    };
    for (let y = area.top; y < area.bottom; y++) {
      for (let x = area.left; x < area.right; x++) {
        const paint = opacity(distance(x + 0.5, y + 0.5, from, to), radius, brush.hardness);
        if (paint > 0) this.put(y * width + x, paint, brush.erases);
      }
    }
    return area;
  }

  private put(at: number, paint: number, erases: boolean): void {
    const value = Math.round(255 * paint);
    const before = this.pixels[at]!;
    this.pixels[at] = erases ? Math.min(before, 255 - value) : Math.max(before, value);
  }

  /** Fills the area around a point that edges enclose: with white, or with black where the point is white. */
  fill(point: Point): void {
    const { width, height } = this.size;
    const start = Math.floor(point.y) * width + Math.floor(point.x);
    if (point.x < 0 || point.y < 0 || point.x >= width || point.y >= height) return;
    const white = this.pixels[start]! >= 128;
    const open = [start];
    const seen = new Uint8Array(this.pixels.length);
    seen[start] = 1;
    const visit = (next: number, there: boolean) => {
      if (!there || seen[next]) return;
      seen[next] = 1;
      open.push(next);
    };
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      const inside = this.pixels[at]! >= 128 === white;
      this.pixels[at] = white ? 0 : 255; // the edge too, so that no grey line is left
      if (!inside) continue;
      const x = at % width;
      visit(at - 1, x > 0);
      visit(at + 1, x < width - 1);
      visit(at - width, at >= width);
      visit(at + width, at < width * (height - 1));
    }
  }

  setAll(value: number): void {
    this.pixels.fill(value);
  }

  invert(): void {
    for (let at = 0; at < this.pixels.length; at++) this.pixels[at] = 255 - this.pixels[at]!;
  }
}

/** How far a point is from the line between two others. */
function distance(x: number, y: number, from: Point, to: Point): number {
  const [wide, high] = [to.x - from.x, to.y - from.y];
  const length = wide * wide + high * high;
  const along = length === 0 ? 0 : Math.min(1, Math.max(0, ((x - from.x) * wide + (y - from.y) * high) / length));
  const [across, down] = [x - from.x - along * wide, y - from.y - along * high];
  return Math.sqrt(across * across + down * down); // Math.hypot takes several times as long
}

/** How much a brush paints at a distance from its middle; the edge of a hard one is one pixel wide. */
function opacity(far: number, radius: number, hardness: number): number {
  const soft = Math.max(1, radius * (1 - hardness));
  return Math.min(1, Math.max(0, (radius + (hardness >= 1 ? 0.5 : 0) - far) / soft));
}

/** The brightness of pixels as files have them; what is transparent is black (kept), as `load_mask` takes it. */
export function brightness(rgba: Uint8ClampedArray): Uint8Array<ArrayBuffer> {
  const made = new Uint8Array(rgba.length / 4);
  for (let at = 0; at < made.length; at++) {
    const [red, green, blue, alpha] = [rgba[4 * at]!, rgba[4 * at + 1]!, rgba[4 * at + 2]!, rgba[4 * at + 3]!];
    made[at] = Math.round(((0.299 * red + 0.587 * green + 0.114 * blue) * alpha) / 255);
  }
  return made;
}
