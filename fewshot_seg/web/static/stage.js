// The middle of the Label tab: the shown image with its mask, the tools, what was found, the verdict.

import { blob, get, heatUrl, labelsUrl, pictureUrl, resultUrl } from "./api.js";
import { announce, byId, h, icon, refill, toast, trying } from "./dom.js";
import * as edits from "./edits.js";
import { drawBox, drawCursor, drawPoint, drawStroke, drawTag } from "./marks.js";
import { blankLabels, paintStroke, readHeat, readLabels } from "./overlay.js";
import { className, colour, emit, filtered, imageOf, on, shownExample, shownImage, shownQuery, state, stateOf, WORDS } from "./state.js";
import { Hand } from "./tools.js";
import { judge, makeExample, step } from "./verdict.js";
import { View } from "./view.js";

export const TOOLS = [
  ["pan", "hand", "Move the image", "V", "Move"],
  ["box", "box", "Box around an example", "X", "Box"],
  ["add", "add", "Click what belongs to it", "C", "Include"],
  ["sub", "sub", "Click what does not belong", "N", "Exclude"],
  ["brush", "brush", "Brush", "B", "Brush"],
  ["eraser", "eraser", "Eraser", "E", "Eraser"],
];

export const view = new View(byId("canvas"), drawMarks);
const hand = new Hand(view, {
  tool: () => state.tool,
  radius: () => Math.max(0.5, state.size / 2 / view.view.scale),
  point: (x, y, foreground) => edits.editable() && edits.addPoint(x, y, foreground),
  box: (box) => edits.editable() && edits.setBox(box),
  painting(stroke, from) {
    if (shownExample()) return; // drawn as a mark
    drawn = ""; // of what the server has
    view.labels ??= blankLabels(view.width, view.height);
    paintStroke(view.labels, stroke, label(), from);
    view.draw(true);
  },
  stroke: (stroke) => (edits.editable() ? edits.addStroke(stroke) : redraw()),
  unpaint: () => redraw(),
});

const label = () => state.place + 1;
let opened = ""; // id of the image on the canvas
let drawn = ""; // which labels it has: id, version
let loading = null; // AbortController of labels on their way

function drawMarks(context) {
  const example = shownExample();
  const { box, points = [], strokes = [] } = example?.hint ?? {};
  if (box) drawBox(context, view, box, label());
  for (const stroke of strokes) drawStroke(context, view, stroke, label());
  if (example && hand.draft?.stroke) drawStroke(context, view, hand.draft.stroke, label());
  for (const [x, y, foreground] of points) drawPoint(context, view, [x, y], foreground, label());
  const image = shownQuery();
  if (image && state.overlay) {
    for (const one of edits.results.get(image.id)?.objects ?? []) {
      const at = state.project.classes.indexOf(one.class) + 1;
      if (at && one.bbox && one.area) drawTag(context, view, one.bbox, at, one.class);
    }
    for (const one of image.edits) {
      if (one.point) drawPoint(context, view, one.point, one.foreground, state.project.classes.indexOf(one.class) + 1);
    }
  }
  if (hand.draft?.box) drawBox(context, view, hand.draft.box, label());
  drawCursor(context, view, hand, state.tool);
}

/** Brings the canvas to what the state says: image, labels, heat map. */
async function refresh() {
  const image = shownImage();
  if (!image) {
    opened = drawn = "";
    view.close();
    return;
  }
  if (opened !== image.id) {
    opened = image.id;
    drawn = "";
    if (!(await view.open((side) => pictureUrl(image.id, side), image.size))) return;
  } else if (!view.ready) return; // on its way: it comes here once it is there
  await Promise.all([refreshLabels(), refreshHeat()]);
  if (shownQuery()) fetchNext();
}

/** Has the browser fetch the next photo and its labels ahead, so that going on takes no time. */
function fetchNext() {
  const list = filtered();
  const next = list[list.findIndex((image) => image.id === state.shown?.id) + 1];
  if (!next?.size || Math.max(...next.size) > 4000) return;
  new Image().src = pictureUrl(next.id, Math.max(...next.size) > 2048 ? 2048 : 0);
  if (next.state === "done") blob(labelsUrl(next)).catch(() => {});
}

async function refreshLabels() {
  const image = shownImage();
  if (shownExample() && !shownExample().hint?.mask) {
    drawn = "";
    view.labels = null;
  } else if (image.state !== "done" || !state.overlay) {
    view.labels = null;
    drawn = "";
  } else if (!state.edited.has(image.id)) {
    const version = `${image.id} ${image.version}`;
    loading?.abort();
    loading = new AbortController();
    const { signal } = loading;
    const kept = edits.results.get(image.id);
    const [labels, result] = await Promise.all([
      readLabels(labelsUrl(image), [view.height, view.width], 0, signal),
      kept?.version === image.version ? kept : get(resultUrl(image), signal),
    ]);
    if (signal.aborted || opened !== image.id || state.edited.has(image.id) || hand.draft) return;
    edits.results.set(image.id, { version: image.version, objects: result.objects });
    view.labels = labels;
    drawn = version;
    drawObjects();
  }
  view.draw(true);
}

async function refreshHeat() {
  const image = shownQuery();
  if (!state.heat || !image?.objects.some((object) => object.class === className())) view.heat = null;
  else {
    const heat = await readHeat(await blob(heatUrl(image, className())));
    if (opened === image.id && state.heat) view.heat = heat;
  }
  view.draw(true);
}

export const redraw = () => trying(refresh);

// What was found, and the verdict.

function drawObjects() {
  const image = shownQuery();
  const example = shownExample();
  const found = edits.results.get(image?.id)?.objects ?? image?.objects ?? [];
  byId("verdict").hidden = byId("tools").hidden = !shownImage();
  const chips = state.project.classes.map((name, place) => {
    const one = found.find((object) => object.class === name);
    if (example ? example.class !== name : !one && image?.state !== "done") return null;
    const word = !one || example ? "" : !one.present ? "absent" : one.doubtful ? "doubtful, look" : "found";
    const swatch = h("span", { class: "swatch", text: String(place + 1) });
    swatch.style.background = colour(place + 1);
    return h("button", { type: "button", class: "object", id: `object-${place}`, "aria-pressed": String(place === state.place),
      title: `Correct ${name} (${place + 1})`, onclick: () => choosePlace(place) },
    swatch, h("span", { class: "name", text: name }), word && h("span", { class: "note", text: `${word} ${one.score.toFixed(2)}` }));
  });
  const note = image?.error ? h("p", { class: "bad", text: image.error })
    : example ? h("p", { class: "note", text: hintWords(example.hint) })
      : image?.state !== "done" && image ? h("p", { class: "note", text: "Not run yet" }) : null;
  refill(byId("objects"), ...chips, note);
  const caption = image ?? shownImage();
  byId("caption").textContent = caption ? `${example ? "Example: " : ""}${caption.name}${image ? ` · ${WORDS[stateOf(image)]}` : ""}` : "";
  byId("canvas").setAttribute("aria-label", caption ? `${byId("caption").textContent}` : "Image");
  for (const button of byId("actions").children) {
    button.hidden = button.dataset.for === "query" ? !image : button.dataset.for === "example" ? !example : false;
    if (button.dataset.act === "accept") button.setAttribute("aria-pressed", String(Boolean(image?.accepted)));
  }
  for (const button of byId("tool-buttons").children) button.disabled = button.dataset.tool === "box" && Boolean(image);
  for (const [id, on_] of [["undo", edits.canUndo()], ["redo", edits.canRedo()]]) byId(id).setAttribute("aria-disabled", String(!on_));
}

export function hintWords(hint) {
  if (!hint) return "No mark: the whole photo counts. Mark the thing by a box, clicks or the brush.";
  if (hint.mask) return "An accepted mask";
  if (hint.box) return "Marked by a box";
  const [kind] = Object.keys(hint);
  const count = hint[kind].length;
  return `Marked by ${count} ${kind === "points" ? "click" : "stroke"}${count === 1 ? "" : "s"}`;
}

export function choosePlace(place) {
  if (place >= state.project.classes.length) return;
  if (!shownExample()) state.place = place;
  announce(`Class ${className()}`);
  emit("tool");
  emit("look");
}

export function chooseTool(name) {
  if (name === "box" && shownQuery()) {
    toast("A box marks an example. Correct a result by clicks, brush or eraser");
    return;
  }
  state.tool = name;
  emit("tool");
  announce(TOOLS.find(([one]) => one === name)[2]);
}

export function toggle(what) {
  state[what] = !state[what];
  const image = shownQuery();
  if (state.heat && image && !image.objects.some((object) => object.class === className())) toast("No heat map: this class was not looked for here");
  emit("look");
  announce(`${what === "heat" ? "Heat map" : "Mask"} ${state[what] ? "on" : "off"}`);
}

function button(props, sign, text) {
  return h("button", { type: "button", ...props }, icon(sign), text && h("span", { text }));
}

function buildBars() {
  const tool = ([name, sign, title, key, word]) => button({ class: "tool", data: { tool: name }, "aria-label": title, title: `${title} (${key})`,
    "aria-pressed": "false", onclick: () => chooseTool(name) }, sign, word);
  byId("tool-buttons").append(...TOOLS.map(tool));
  const act = (sign, title, key, onclick, more = {}) => button({ class: "tool", "aria-label": title, title: `${title} (${key})`, onclick, ...more }, sign);
  byId("history-buttons").append(act("undo", "Undo", "Ctrl+Z", edits.undo, { id: "undo" }), act("redo", "Redo", "Ctrl+Shift+Z", edits.redo, { id: "redo" }));
  byId("view-buttons").append(
    act("eye", "Show mask", "M", () => toggle("overlay"), { id: "look-overlay" }),
    act("heat", "Show heat map", "H", () => toggle("heat"), { id: "look-heat" }),
    act("minus", "Zoom out", "-", () => view.zoom(1 / 1.4)), act("plus", "Zoom in", "+", () => view.zoom(1.4)), act("fit", "Fit", "0", () => view.fit()));
  const verdict = (name, sign, text, key, onclick, kind = "query", more = "") =>
    button({ data: { act: name, for: kind }, class: more, title: `${text} (${key})`, onclick }, sign, text);
  byId("actions").append(
    verdict("prev", "prev", "Previous", "K", () => step(-1), "both"),
    verdict("reject", "cross", "Reject", "R", () => judge(false)),
    verdict("accept", "check", "Accept", "A", () => judge(true), "query", "primary"),
    verdict("example", "repeat", "Use as example", "U", makeExample),
    verdict("clear", "trash", "Clear marks", "Delete", edits.clearMarks, "example"),
    verdict("next", "next", "Next", "J", () => step(1), "both"));
}

function drawTools() {
  for (const one of byId("tool-buttons").children) one.setAttribute("aria-pressed", String(one.dataset.tool === state.tool));
  byId("size").value = state.size;
  byId("size-label").classList.toggle("off", !hand.paints(state.tool));
  byId("canvas").dataset.tool = state.tool;
  byId("look-overlay").setAttribute("aria-pressed", String(state.overlay));
  byId("look-heat").setAttribute("aria-pressed", String(state.heat));
  drawObjects();
  view.draw();
}

buildBars();
drawTools();
byId("size").addEventListener("input", () => {
  state.size = Number(byId("size").value);
  view.draw();
});
on("tool look", drawTools);
on("look", redraw);
on("shown", () => {
  if (state.tool === "box" && shownQuery()) state.tool = "pan";
  if (shownExample() && !shownExample().hint && state.tool === "pan") state.tool = "box";
  drawTools();
  redraw();
});
on("project", () => {
  drawObjects();
  if (shownExample()) redraw();
});
on("image", ({ detail }) => {
  if (detail !== state.shown?.id) return;
  drawObjects();
  const image = imageOf(detail);
  if (drawn !== `${image.id} ${image.version}` || state.edited.has(image.id)) redraw();
});
