// What the page knows: the server's project, and what is shown of it. Parts listen to topics:
// "project" (lists), "image" (one image, its id in detail), "shown", "tool", "look" (overlay, heat), "run".

import { get, send } from "./api.js";
import { debounced, trying } from "./dom.js";

export const state = {
  project: { name: "", classes: [], examples: [], images: [], folders: [], settings: {}, clicks: 0 },
  shown: null, // {kind: "query" | "example", id}
  place: 0, // of the class that is marked
  tool: "pan",
  size: 24, // brush's diameter, screen pixels
  overlay: true,
  heat: false,
  filter: "all",
  running: false,
  edited: new Set(), // ids of images with edits on their way
  decided: new Map(), // id -> accepted or not, on its way
  hinted: new Map(), // id of an example -> its mark, on its way
};

const topics = new EventTarget();
export const on = (names, work) => names.split(" ").forEach((name) => topics.addEventListener(name, work));
export const emit = (name, detail) => topics.dispatchEvent(new CustomEvent(name, { detail }));

const PALETTE = ["#ff5d4d", "#2fb4ff", "#ffc233", "#3ecf6e", "#b77bff", "#ff8bd0", "#19c9b8", "#ff9245", "#a6d834",
  "#8093ff", "#e0b088", "#d65a96"];

/** CSS colour of label k = 1, 2, ... */
export const colour = (label) => PALETTE[(label - 1) % PALETTE.length];

export const WORDS = { new: "new", done: "done", doubtful: "doubtful", absent: "absent", accepted: "accepted", error: "error" };
export const SIGNS = { new: "dot", done: "ring", doubtful: "question", absent: "absent", accepted: "check", error: "warn" };

/** Which of WORDS an image is. */
export function stateOf(image) {
  if (image.state === "error") return "error";
  if (image.accepted) return "accepted";
  if (image.state !== "done") return "new";
  const there = image.objects.filter((object) => object.present);
  if (!there.length && !image.edits.length) return "absent";
  return there.some((object) => object.doubtful) ? "doubtful" : "done";
}

export const queries = () => state.project.images.filter((image) => image.query);
export const filtered = () => queries().filter((image) => state.filter === "all" || stateOf(image) === state.filter);
export const imageOf = (id) => state.project.images.find((image) => image.id === id);
export const exampleOf = (id) => state.project.examples.find((example) => example.id === id);
export const className = () => state.project.classes[state.place];

/** The image on the canvas: of a query, or an example's. */
export function shownImage() {
  if (!state.shown) return undefined;
  return imageOf(state.shown.kind === "query" ? state.shown.id : exampleOf(state.shown.id)?.image);
}

export const shownQuery = () => (state.shown?.kind === "query" ? imageOf(state.shown.id) : undefined);
export const shownExample = () => (state.shown?.kind === "example" ? exampleOf(state.shown.id) : undefined);

/** Shows a query or an example; null shows nothing. */
export function show(kind, id) {
  state.shown = id === null ? null : { kind, id };
  const example = shownExample();
  if (example) state.place = Math.max(0, state.project.classes.indexOf(example.class));
  emit("shown");
}

/** To be called as an example's mark is sent, and as it has arrived. */
export const touched = () => (changes += 1);
let changes = 0; // so that a slow answer does not bring back what has changed since it was asked

/** An image from the server, with what is on its way to the server. */
function ahead(image, old) {
  const edits = state.edited.has(image.id) && old ? old.edits : image.edits;
  return { ...image, edits, accepted: state.decided.get(image.id) ?? image.accepted };
}

/** Puts a newer image in its place. */
export const putImage = (image) => putImages([image]);

export function putImages(newer) {
  const { images } = state.project;
  const before = images.length;
  changes += 1;
  for (const image of newer) {
    const place = images.findIndex((one) => one.id === image.id);
    if (place < 0) images.push(image);
    else images[place] = ahead(image, images[place]);
  }
  if (images.length > before) emit("project");
  for (const { id } of newer) emit("image", id);
}

/** Takes the whole project from an answer. */
export function setProject(project) {
  const old = new Map(state.project.images.map((image) => [image.id, image]));
  project.images = project.images.map((image) => ahead(image, old.get(image.id)));
  for (const example of project.examples) if (state.hinted.has(example.id)) example.hint = state.hinted.get(example.id);
  state.project = project;
  state.place = Math.min(state.place, Math.max(0, project.classes.length - 1));
  if (state.shown && !shownImage()) show("query", null);
  emit("project");
  const shown = shownImage();
  if (shown && old.get(shown.id)?.version !== shown.version) emit("image", shown.id);
}

export async function reload() {
  const before = changes;
  const project = await get("/api/project");
  if (changes === before) setProject(project);
  else recount();
}

/** The counts, soon after something was done. */
export const recount = debounced(() => state.running || trying(reload), 700);

let waiting = null;
let asking = false;
/** Sends settings; while one answer is awaited only the latest of the others is kept. */
export async function setSettings(changed) {
  Object.assign(state.project.settings, changed);
  waiting = { ...waiting, ...changed };
  if (asking) return;
  asking = true;
  while (waiting) {
    const body = waiting;
    waiting = null;
    await trying(async () => {
      const project = await send("PUT", "/api/project/settings", body);
      if (waiting) Object.assign(project.settings, waiting);
      setProject(project);
    });
  }
  asking = false;
}
