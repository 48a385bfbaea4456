// What is drawn over the image: points, boxes, name tags, the brush's ring, the keys' crosshair.

import { colour } from "./state.js";

function twice(context, path, line = 2) {
  context.lineJoin = "round";
  for (const [style, width] of [["rgba(0,0,0,.7)", line + 2], ["#fff", line]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    path();
    context.stroke();
  }
}

/** A click: a disc with a plus (belongs) or a minus (does not). */
export function drawPoint(context, view, [x, y], foreground, label) {
  const [sx, sy] = view.toScreen([x + 0.5, y + 0.5]);
  context.beginPath();
  context.arc(sx, sy, 8, 0, 7);
  context.fillStyle = foreground ? colour(label) : "#22252b";
  context.fill();
  twice(context, () => context.arc(sx, sy, 8, 0, 7), 1.5);
  context.strokeStyle = foreground ? "#15171b" : "#fff";
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(sx - 4, sy);
  context.lineTo(sx + 4, sy);
  if (foreground) {
    context.moveTo(sx, sy - 4);
    context.lineTo(sx, sy + 4);
  }
  context.stroke();
}

/** A stroke on an example: on the thing in its class's colour, off it dark and with a dashed line along it. */
export function drawStroke(context, view, { points, radius, foreground }, label) {
  const way = new Path2D();
  points.forEach((point, at) => way[at ? "lineTo" : "moveTo"](...view.toScreen([point[0] + 0.5, point[1] + 0.5])));
  if (points.length === 1) way.lineTo(...view.toScreen([points[0][0] + 0.6, points[0][1] + 0.5]));
  context.save();
  context.lineCap = context.lineJoin = "round";
  context.globalAlpha = 0.6;
  context.strokeStyle = foreground ? colour(label) : "#15171b";
  context.lineWidth = Math.max(2, 2 * radius * view.view.scale);
  context.stroke(way);
  context.globalAlpha = 1;
  context.strokeStyle = "#fff";
  context.lineWidth = 1.5;
  if (!foreground) context.setLineDash([6, 5]);
  context.stroke(way);
  context.restore();
}

export function drawBox(context, view, [x, y, w, h], label) {
  const [left, top] = view.toScreen([x, y]);
  const [right, bottom] = view.toScreen([x + w, y + h]);
  twice(context, () => context.rect(left, top, right - left, bottom - top));
  context.setLineDash([8, 6]);
  context.strokeStyle = colour(label);
  context.lineWidth = 2;
  context.strokeRect(left, top, right - left, bottom - top);
  context.setLineDash([]);
}

/** The ring of a brush or eraser, or the crosshair that the keys move. */
export function drawCursor(context, view, hand, tool) {
  if (!hand.at) return;
  const [x, y] = view.toScreen(hand.at);
  if (hand.paints(tool)) {
    const radius = hand.act.radius() * view.view.scale;
    twice(context, () => context.arc(x, y, radius, 0, 7), 1.5);
    if (tool === "eraser") twice(context, () => (context.moveTo(x - 4, y), context.lineTo(x + 4, y)), 1.5);
  }
  if (hand.keyed) {
    twice(context, () => {
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + dx * 4, y + dy * 4);
        context.lineTo(x + dx * 16, y + dy * 16);
      }
    });
  }
}

/** A class's number and name at an object's corner. */
export function drawTag(context, view, [bx, by], label, name) {
  const [left, top] = view.toScreen([bx, by]);
  const [wide] = view.box;
  const text = `${label} ${name}`.slice(0, 32);
  context.font = "600 12px system-ui, sans-serif";
  const width = context.measureText(text).width + 12;
  const x = Math.min(Math.max(4, left), Math.max(4, wide - width - 4));
  const y = Math.max(4, top - 22);
  context.fillStyle = colour(label);
  context.beginPath();
  context.roundRect(x, y, width, 18, 4);
  context.fill();
  context.fillStyle = "#15171b";
  context.textBaseline = "middle";
  context.fillText(text, x + 6, y + 9.5);
}
