// The photos: a grid of thumbnails with their masks and states, a filter, uploads.

import { imagePath, labelsUrl, pictureUrl, send, uploads } from "./api.js";
import { announce, byId, chooser, dropzone, h, icon, refill, toast, trying } from "./dom.js";
import { drawLabels, readLabels } from "./overlay.js";
import { filtered, imageOf, on, putImages, queries, reload, show, SIGNS, state, stateOf, WORDS } from "./state.js";
import { load } from "./view.js";

const SIDE = 256;
const cells = new Map(); // id -> {node, canvas, drawn, picture}
const ids = new WeakMap(); // element -> id
const seen = new Set(); // ids in sight
let jobs = 0;
const waiting = [];

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const id = ids.get(target);
    if (isIntersecting) seen.add(id);
    else seen.delete(id);
    if (isIntersecting) want(id);
  }
}, { root: byId("queries-scroll"), rootMargin: "200px" });

/** Draws a thumbnail soon, four at a time, those in sight alone. */
function want(id) {
  if (!waiting.includes(id)) waiting.push(id);
  while (jobs < 4 && waiting.length) {
    const next = waiting.shift();
    if (!seen.has(next) || !cells.has(next)) continue;
    jobs += 1;
    paint(next).catch(() => cells.get(next)?.node.classList.add("broken")).finally(() => {
      jobs -= 1;
      if (waiting.length) want(waiting.shift());
    });
  }
}

async function paint(id) {
  const cell = cells.get(id);
  const image = imageOf(id);
  const wanted = image.state === "done" ? image.version : "";
  if (cell.drawn === wanted && cell.picture) return;
  cell.picture ??= await load(pictureUrl(id, SIDE));
  const { naturalWidth: width, naturalHeight: height } = cell.picture;
  const labels = wanted ? await readLabels(labelsUrl(image), image.size, SIDE) : null;
  cell.canvas.width = width;
  cell.canvas.height = height;
  const context = cell.canvas.getContext("2d");
  context.drawImage(cell.picture, 0, 0);
  if (labels) {
    const layer = new OffscreenCanvas(1, 1);
    drawLabels(labels, width, { x: 0, y: 0, scale: 1 }, [0, 0, width, height], 1, layer, true, 3);
    context.drawImage(layer, 0, 0, width, height);
  }
  cell.drawn = wanted;
  if (imageOf(id)?.state === "done" && imageOf(id).version !== wanted) want(id);
}

function make(image) {
  const canvas = h("canvas", { width: 4, height: 3 });
  const name = h("span", { class: "name", text: image.name });
  const sign = h("span", { class: "sign" });
  const node = h("div", { role: "option", class: "thumb", id: `thumb-${image.id}`, tabindex: "-1", title: image.name,
    onclick: () => pick(image.id) }, canvas, sign, name);
  ids.set(node, image.id);
  watcher.observe(node);
  const cell = { node, canvas, sign, drawn: null, picture: null };
  cells.set(image.id, cell);
  return cell;
}

function mark(image) {
  const cell = cells.get(image.id) ?? make(image);
  const word = stateOf(image);
  const { node, sign } = cell;
  const chosen = state.shown?.kind === "query" && state.shown.id === image.id;
  if (node.dataset.state !== word) {
    node.dataset.state = word;
    refill(sign, icon(SIGNS[word]), h("span", { text: WORDS[word] }));
  }
  node.title = image.error ?? image.name;
  node.setAttribute("aria-label", `${image.name}, ${WORDS[word]}`);
  node.setAttribute("aria-selected", String(chosen));
  node.tabIndex = chosen ? 0 : -1;
  if (seen.has(image.id)) want(image.id);
  return node;
}

function pick(id) {
  show("query", id);
  byId("pane-queries").dispatchEvent(new CustomEvent("pane", { detail: "image", bubbles: true }));
}

function draw() {
  const all = queries();
  const list = filtered();
  const there = new Set(all.map((image) => image.id));
  for (const [id, { node }] of cells) {
    if (there.has(id)) continue;
    watcher.unobserve(node);
    node.remove();
    cells.delete(id);
  }
  const nodes = list.map(mark);
  const box = byId("thumbs");
  if (box.children.length !== nodes.length || nodes.some((node, at) => box.children[at] !== node)) refill(box, ...nodes);
  if (nodes.length && !nodes.some((node) => node.tabIndex === 0)) nodes[0].tabIndex = 0;
  byId("queries-empty").hidden = list.length > 0;
  byId("thumbs").hidden = !list.length;
  byId("queries-empty").textContent = all.length ? "No photo is in this state."
    : "Drop the photos to label here, or add them above. They stay on this machine.";
  drawFilters(all);
}

function drawFilters(all) {
  const counts = { all: all.length };
  for (const image of all) counts[stateOf(image)] = (counts[stateOf(image)] ?? 0) + 1;
  const names = ["all", ...Object.keys(WORDS)].filter((name) => name === "all" || counts[name] || name === state.filter);
  refill(byId("filters"), ...(all.length ? names.map((name) => h("button", { type: "button", class: "chip", id: `filter-${name}`,
    "aria-pressed": String(state.filter === name), onclick: () => choose(name) }, name === "all" ? null : icon(SIGNS[name]), h("span", { text: `${name} ${counts[name] ?? 0}` }))) : []));
  const { clicks } = state.project;
  refill(byId("clicks"), h("b", { text: String(clicks) }), clicks === 1 ? " click" : " clicks");
  refill(byId("accepted"), h("b", { text: String(counts.accepted ?? 0) }), ` of ${counts.all} accepted`);
  byId("panes-count").textContent = counts.all || "";
  byId("project-name").textContent = state.project.name;
}

function choose(name) {
  state.filter = name;
  draw();
  announce(`${filtered().length} photos shown`);
}

export async function addQueries(files) {
  if (!files.length) return;
  const many = files.length > 4;
  const before = new Set(queries().map((image) => image.id));
  let again = 0;
  for await (const { images, done } of uploads(files, true)) {
    for (const { error } of images.filter((image) => !image.id)) toast(error, "error");
    const kept = images.filter((image) => image.id);
    again += kept.filter((image) => before.has(image.id)).length;
    putImages(kept);
    if (many) announce(`${done} of ${files.length} added`);
  }
  announce(`${files.length - again} photos added`);
  if (again) toast(`${again} of ${files.length} ${again === 1 ? "was" : "were"} here already: a photo is kept once`);
  if (!state.shown && queries().length) show("query", queries()[0].id);
}

async function openFolder(folder) {
  const { images } = await send("POST", `/api/project/folders/${folder.id}`);
  await reload();
  toast(`${images.length} photo${images.length === 1 ? "" : "s"} from ${folder.name}`);
  if (!state.shown && queries().length) show("query", queries()[0].id);
}

/** Forgets the shown photo; one of a folder stays on disk. */
export async function forget() {
  const image = state.shown?.kind === "query" ? imageOf(state.shown.id) : undefined;
  if (!image) return;
  if ((image.accepted || image.edits.length) && !confirm(`Remove ${image.name} with its mask from the project?`)) return;
  const list = filtered();
  const at = list.findIndex((one) => one.id === image.id);
  const next = list[at + 1] ?? list[at - 1];
  await trying(async () => {
    await send("DELETE", imagePath(image.id));
    show("query", next?.id ?? null);
    await reload();
    announce(`${image.name} removed`);
  });
}

function drawFolders() {
  if (byId("folders").children.length === state.project.folders.length) return;
  refill(byId("folders"), ...state.project.folders.map((folder) => h("button", { type: "button", id: `folder-${folder.id}`, title: `Open folder ${folder.name}`,
    onclick: () => trying(() => openFolder(folder)) }, icon("folder"), h("span", { text: folder.name }))));
}

function keys(event) {
  const nodes = [...byId("thumbs").children];
  const at = nodes.indexOf(document.activeElement);
  if (at < 0) return;
  const across = Math.max(1, nodes.filter((node) => node.offsetTop === nodes[0].offsetTop).length);
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across, Home: -at, End: nodes.length - 1 - at }[event.key];
  if (by !== undefined && nodes[at + by]) {
    event.preventDefault();
    show("query", ids.get(nodes[at + by]));
    nodes[at + by].focus();
  } else if (event.key === "Enter") pick(ids.get(nodes[at]));
}

byId("thumbs").addEventListener("keydown", keys);
chooser(byId("queries-add"), addQueries);
for (const id of ["pane-queries", "frame"]) dropzone(byId(id), addQueries);
on("project", () => (draw(), drawFolders()));
on("shown", () => {
  draw();
  if (state.shown?.kind === "query") cells.get(state.shown.id)?.node.scrollIntoView({ block: "nearest" });
});
on("image", ({ detail }) => {
  const image = imageOf(detail);
  if (image?.query && state.filter === "all") mark(image);
  if (image?.query) (state.filter === "all" ? drawFilters : draw)(queries());
});
