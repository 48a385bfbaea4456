// Label maps as the browser holds them, and what is painted over an image. An overlay is made at the screen's
// resolution, so its cost and its outline's width do not depend on the image's size or the zoom.

import { blob } from "./api.js";
import { colour } from "./state.js";

const MOST_PIXELS = 1_300_000; // of an overlay: a larger one is made coarser
const FILL = 0x5c; // opacity of a fill, of 255
const CASING = 0xa0000000; // dark line around an outline

const rgb = (label) => [1, 3, 5].map((at) => parseInt(colour(label).slice(at, at + 2), 16));
const packed = (label, alpha) => {
  const [red, green, blue] = rgb(label);
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
};
const LINES = new Uint32Array(256).map((_, label) => (label ? packed(label, 255) : 0));
const FILLS = new Uint32Array(256).map((_, label) => (label ? packed(label, FILL) : 0));

/** An empty label map: {data: Uint8Array, width, height}. */
export const blankLabels = (width, height) => ({ data: new Uint8Array(width * height), width, height });

/** Reads a label PNG. With `side`, no larger than that, sampled: for thumbnails. */
export async function readLabels(url, size, side, signal) {
  const exact = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const file = await blob(url, signal);
  const [height, width] = size;
  const scale = side ? Math.min(1, side / Math.max(width, height)) : 1;
  const smaller = { resizeWidth: Math.max(1, Math.round(width * scale)), resizeHeight: Math.max(1, Math.round(height * scale)) };
  const bitmap = await createImageBitmap(file, scale < 1 ? { ...exact, ...smaller, resizeQuality: "pixelated" } : exact);
  const labels = blankLabels(bitmap.width, bitmap.height);
  const rows = Math.min(bitmap.height, 256); // a stripe at a time: four bytes a pixel are never held for all
  const stripe = new OffscreenCanvas(bitmap.width, rows).getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < bitmap.height; top += rows) {
    const high = Math.min(rows, bitmap.height - top);
    if (top) await new Promise((done) => setTimeout(done)); // a large one does not hold the page up
    stripe.drawImage(bitmap, 0, top, bitmap.width, high, 0, 0, bitmap.width, high);
    const pixels = stripe.getImageData(0, 0, bitmap.width, high).data;
    for (let from = 0, to = top * bitmap.width; from < pixels.length; from += 4, to += 1) labels.data[to] = pixels[from];
  }
  bitmap.close();
  return labels;
}

/** Paints a stroke into a label map, as discs along its line. An eraser clears only its own label's pixels. */
export function paintStroke(labels, { points, radius, foreground }, label, from = 0) {
  const { data, width, height } = labels;
  const disc = (cx, cy) => {
    for (let y = Math.max(0, Math.ceil(cy - radius)); y <= Math.min(height - 1, cy + radius); y += 1) {
      const half = Math.sqrt(Math.max(0, radius * radius - (y - cy) ** 2));
      const first = y * width + Math.max(0, Math.ceil(cx - half));
      const last = y * width + Math.min(width - 1, Math.floor(cx + half));
      if (foreground) data.fill(label, first, last + 1);
      else for (let at = first; at <= last; at += 1) if (data[at] === label) data[at] = 0;
    }
  };
  for (let at = Math.max(0, from - 1); at < points.length; at += 1) {
    const [x, y] = points[at];
    const [px, py] = points[Math.max(0, at - 1)];
    const steps = Math.max(1, Math.ceil(Math.hypot(x - px, y - py) / Math.max(1, radius / 3)));
    for (let step = 0; step <= steps; step += 1) disc(px + ((x - px) * step) / steps, py + ((y - py) * step) / steps);
  }
}

/** The part of `labels` that fills the screen's rectangle, as a canvas. `view`: {x, y, scale} of the image; `area`: its
 * [left, top, width, height] on the screen, CSS pixels; `ratio`: device pixels to a CSS pixel; `fills`: or outlines
 * alone, `line` CSS pixels wide. */
export function drawLabels(labels, imageWidth, view, area, ratio, canvas, fills = true, line = 1.5) {
  const [left, top, wide, high] = area;
  const fine = Math.min(ratio, Math.sqrt(MOST_PIXELS / Math.max(1, wide * high)));
  const w = Math.max(1, Math.round(wide * fine));
  const h = Math.max(1, Math.round(high * fine));
  const step = labels.width / imageWidth / view.scale; // label pixels to a CSS pixel
  const columns = new Int32Array(w).map((_, x) =>
    Math.min(labels.width - 1, Math.max(0, Math.floor((left - view.x + ((x + 0.5) * wide) / w) * step))));
  const shown = new Uint8Array(w * h);
  for (let y = 0, at = 0; y < h; y += 1) {
    const row = labels.width
      * Math.min(labels.height - 1, Math.max(0, Math.floor((top - view.y + ((y + 0.5) * high) / h) * step)));
    for (let x = 0; x < w; x += 1, at += 1) shown[at] = labels.data[row + columns[x]];
  }
  canvas.width = w;
  canvas.height = h;
  const context = canvas.getContext("2d");
  const image = context.createImageData(w, h);
  outline(shown, w, h, Math.max(1, Math.round(line * fine)), new Uint32Array(image.data.buffer), fills ? FILLS : new Uint32Array(256));
  context.putImageData(image, 0, 0);
}

/** Fill, outline (inside, `thick` pixels) and dark casing (outside) of a small label map. */
function outline(shown, w, h, thick, out, fills) {
  for (let y = 0, at = 0; y < h; y += 1) {
    const up = y >= thick ? thick * w : 0;
    const down = y + thick < h ? thick * w : 0;
    for (let x = 0; x < w; x += 1, at += 1) {
      const label = shown[at];
      const west = shown[x >= thick ? at - thick : at];
      const east = shown[x + thick < w ? at + thick : at];
      const north = shown[at - up];
      const south = shown[at + down];
      if (label === west && label === east && label === north && label === south) out[at] = fills[label];
      else out[at] = label ? LINES[label] : CASING;
    }
  }
}

const RAMP = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];

/** A grey picture of evidence (a blob) as a small canvas in colour, its opacity rising with the evidence. */
export async function readHeat(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < image.data.length; at += 4) {
    const value = (image.data[at] / 255) * (RAMP.length - 1);
    const low = Math.min(RAMP.length - 2, Math.floor(value));
    for (let channel = 0; channel < 3; channel += 1)
      image.data[at + channel] = RAMP[low][channel] + (RAMP[low + 1][channel] - RAMP[low][channel]) * (value - low);
    image.data[at + 3] = 90 + (130 * image.data[at]) / 255;
  }
  context.putImageData(image, 0, 0);
  bitmap.close();
  return canvas;
}
