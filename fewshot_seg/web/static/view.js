// A canvas that shows an image: zoom, pan, overlay, heat map, marks. Image coordinates are native pixels.

import { blob } from "./api.js";
import { drawLabels } from "./overlay.js";

const PREVIEW = 2048; // longer side of what is loaded first; the native image comes with the zoom
const CLOSEST = 40; // screen pixels to an image's

export class View {
  /** `canvas` fills its parent; `marks(context, view)` draws on top of all. */
  constructor(canvas, marks = () => {}) {
    this.canvas = canvas;
    this.marks = marks;
    this.labels = null;
    this.heat = null;
    this.bitmap = null; // the whole, or a smaller preview of it
    this.full = null; // the whole, once the zoom asks for it
    this.ready = false; // whether what is asked for is what is shown
    this.width = this.height = 0;
    this.view = { x: 0, y: 0, scale: 1 };
    this.layer = new OffscreenCanvas(1, 1);
    this.stale = true;
    this.fitted = true;
    new ResizeObserver(() => (this.fitted ? this.fit() : this.draw(true))).observe(canvas.parentElement);
  }

  /** Shows an image; `address(side)` gives its URL, side 0 for native. `size`: [H, W] or null where unknown. Resolves true once
   * it is there, false where another came in between. */
  async open(address, size) {
    const token = (this.token = {});
    this.address = address;
    this.ready = false;
    const large = size && Math.max(...size) > PREVIEW;
    const bitmap = await load(address(large ? PREVIEW : 0)).catch((error) => {
      if (token === this.token) this.close();
      throw error;
    });
    if (token !== this.token) return false;
    this.full = this.labels = this.heat = null;
    this.ready = true;
    this.native = !large;
    this.bitmap = bitmap;
    [this.height, this.width] = size ?? [bitmap.naturalHeight, bitmap.naturalWidth];
    this.fit();
    return true;
  }

  close() {
    this.token = {};
    this.ready = false;
    this.bitmap = this.full = this.labels = this.heat = null;
    this.draw(true);
  }

  async sharpen() {
    if (this.native || !this.bitmap) return;
    if (this.view.scale * devicePixelRatio <= this.bitmap.width / this.width) return;
    this.native = true;
    const token = this.token;
    const full = await blob(this.address(0)).then((file) => createImageBitmap(file)).catch(() => null); // decoded aside
    if (full && token === this.token) {
      this.full = full;
      this.draw();
    }
  }

  get box() {
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    return [clientWidth, clientHeight];
  }

  get least() {
    const [wide, high] = this.box;
    return Math.min((wide - 24) / this.width, (high - 24) / this.height);
  }

  fit() {
    const [wide, high] = this.box;
    if (this.bitmap && wide > 24 && high > 24) {
      const scale = Math.min(this.least, 8);
      this.view = { scale, x: (wide - this.width * scale) / 2, y: (high - this.height * scale) / 2 };
    }
    this.fitted = true;
    this.draw(true);
  }

  /** Zooms by a factor, the screen's point (x, y) staying where it is; the middle by default. */
  zoom(factor, x = this.box[0] / 2, y = this.box[1] / 2) {
    if (!this.bitmap) return;
    const old = this.view.scale;
    const scale = Math.min(CLOSEST, Math.max(Math.min(this.least, 1) / 2, old * factor));
    this.view = { scale, x: x - ((x - this.view.x) * scale) / old, y: y - ((y - this.view.y) * scale) / old };
    this.move(0, 0);
    this.sharpen();
  }

  /** Pans by screen pixels; a part of the image always stays in sight. */
  move(dx, dy) {
    const [wide, high] = this.box;
    const held = (at, long, room) => Math.min(room - Math.min(room / 3, long), Math.max(Math.min(room / 3, long) - long, at));
    this.view.x = held(this.view.x + dx, this.width * this.view.scale, wide);
    this.view.y = held(this.view.y + dy, this.height * this.view.scale, high);
    this.fitted = false;
    this.draw(true);
  }

  /** Image coordinates of a pointer event or a screen's point, not rounded. */
  toImage({ clientX, clientY }) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return [(clientX - left - this.view.x) / this.view.scale, (clientY - top - this.view.y) / this.view.scale];
  }

  toScreen([x, y]) {
    return [x * this.view.scale + this.view.x, y * this.view.scale + this.view.y];
  }

  holds([x, y]) {
    return this.ready && x >= 0 && y >= 0 && x < this.width && y < this.height;
  }

  /** Draws in the next frame; `stale`: the overlay has to be made again. */
  draw(stale = false) {
    this.stale ||= stale;
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.paint();
    });
  }

  paint() {
    const ratio = devicePixelRatio || 1;
    const [wide, high] = this.box;
    const { canvas } = this;
    if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(high * ratio)) {
      canvas.width = Math.round(wide * ratio);
      canvas.height = Math.round(high * ratio);
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, wide, high);
    if (!this.bitmap) return;
    const { x, y, scale } = this.view;
    const rectangle = [x, y, this.width * scale, this.height * scale];
    context.imageSmoothingEnabled = scale < 6;
    context.imageSmoothingQuality = "high";
    const sharp = this.full && scale * ratio > this.bitmap.width / this.width;
    context.drawImage(sharp ? this.full : this.bitmap, ...rectangle);
    context.imageSmoothingEnabled = true;
    if (this.heat) context.drawImage(this.heat, ...rectangle);
    this.paintLabels(context, rectangle, wide, high, ratio);
    if (this.ready) this.marks(context, this);
  }

  paintLabels(context, [x, y, width, height], wide, high, ratio) {
    if (!this.labels) return;
    const left = Math.max(0, x);
    const top = Math.max(0, y);
    const area = [left, top, Math.min(wide, x + width) - left, Math.min(high, y + height) - top];
    if (area[2] < 1 || area[3] < 1) return;
    if (this.stale) drawLabels(this.labels, this.width, this.view, area, ratio, this.layer, !this.heat);
    this.stale = false;
    context.drawImage(this.layer, ...area);
  }
}

/** An image element, decoded. */
export async function load(url) {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    throw new Error("The image could not be loaded: is the file still there?");
  }
  return image;
}
