// Corrections of queries and marks of examples: sent to the server as whole lists, undone and redone.

import { imagePath, send } from "./api.js";
import { announce, toast, trying } from "./dom.js";
import { className, emit, exampleOf, imageOf, putImage, recount, reload, shownExample, shownQuery, state, touched } from "./state.js";

const undone = new Map(); // id of an image or example -> what redo brings back, the latest last
const sending = new Map(); // id of an image -> the list to send next, or null
const busy = new Map(); // id of an image -> the promise that its edits have arrived
let hints = Promise.resolve(); // marks go one after the other
let decisions = Promise.resolve();
/** Once all marks, corrections and decisions have arrived. */
export const allSettled = () => Promise.all([hints, decisions, ...busy.values()]);
export const results = new Map(); // id of an image -> {version, objects}

/** Sends an image's edits; while one answer is awaited, only the latest list is kept. */
async function sendEdits(id, edits) {
  imageOf(id).edits = edits;
  emit("image", id);
  if (state.edited.has(id)) {
    sending.set(id, edits);
    return;
  }
  state.edited.add(id);
  const sent = sendAll(id, edits);
  busy.set(id, sent);
  await sent;
  busy.delete(id);
}

async function sendAll(id, edits) {
  const { accepted } = imageOf(id);
  let next = edits;
  let answer = null;
  const fine = await trying(async () => {
    while (next) {
      answer = await send("PUT", imagePath(id, "/edits"), { edits: next });
      next = sending.get(id);
      sending.delete(id);
    }
  });
  state.edited.delete(id);
  sending.delete(id);
  if (fine) {
    results.set(id, { version: answer.image.version, objects: answer.objects });
    putImage(answer.image);
    if (accepted && !answer.image.accepted) toast(`${answer.image.name} was accepted: accept it again as it is now`);
    recount();
  } else {
    await trying(reload);
    emit("image", id);
  }
}

/** Accepts or not: at once on the page, on the server after the corrections that are on their way. True where it went well. */
export async function decide(image, accepted) {
  state.decided.set(image.id, accepted);
  putImage(image);
  decisions = decisions.then(() => trying(async () => {
    await busy.get(image.id);
    const answer = await send("POST", imagePath(image.id, "/accept"), { accepted });
    if (state.decided.get(image.id) === accepted) state.decided.delete(image.id);
    putImage(answer);
  }));
  const fine = await decisions;
  if (fine) recount();
  else {
    state.decided.delete(image.id);
    await trying(reload);
  }
  return fine;
}

async function sendHint(id, hint) {
  const example = exampleOf(id);
  example.hint = hint;
  state.hinted.set(id, hint);
  touched();
  emit("project");
  hints = hints.then(() => trying(() => send("PUT", `/api/project/examples/${encodeURIComponent(id)}`, { class: example.class, hint })));
  const fine = await hints;
  touched();
  if (state.hinted.get(id) === hint) state.hinted.delete(id);
  if (fine) recount();
  else await trying(reload);
}

/** Whether the shown image can be marked or corrected; says why not. */
export function editable() {
  const image = shownQuery();
  if (shownExample()?.hint?.mask) {
    toast("This example is an accepted result: correct it among the photos");
    return false;
  }
  if (image && image.state !== "done") {
    toast(state.project.examples.length ? "Run first: there is no mask to correct yet" : "Add an example first, then run");
    return false;
  }
  if (image && !className()) {
    toast("Name a class first");
    return false;
  }
  return Boolean(image || shownExample());
}

function edit(one) {
  const image = shownQuery();
  undone.delete(image.id);
  sendEdits(image.id, [...image.edits, { class: className(), ...one }]);
}

function hint(make) {
  const example = shownExample();
  const next = make(example.hint ?? {});
  undone.delete(example.id);
  sendHint(example.id, next);
}

export function addPoint(x, y, foreground) {
  if (shownExample()) hint(({ points = [] }) => ({ points: [...points, [x, y, foreground]] }));
  else edit({ point: [x, y], foreground });
}

export function addStroke(stroke) {
  if (shownExample()) hint(({ strokes = [] }) => ({ strokes: [...strokes, stroke] }));
  else edit({ stroke });
}

export function setBox(box) {
  hint(() => ({ box }));
}

export function clearMarks() {
  if (shownExample()?.hint && !shownExample().hint.mask) hint(() => null);
  const image = shownQuery();
  if (image?.edits.length) {
    undone.set(image.id, [...image.edits].reverse());
    sendEdits(image.id, []);
  }
}

/** A hint without its last mark, and that mark as a hint of its own. */
function withoutLast(before) {
  const [kind] = Object.keys(before);
  if (kind === "box") return [null, before];
  const rest = before[kind].slice(0, -1);
  return [rest.length ? { [kind]: rest } : null, { [kind]: before[kind].slice(-1) }];
}

export function canUndo() {
  const example = shownExample();
  return example ? Boolean(example.hint && !example.hint.mask) : Boolean(shownQuery()?.edits.length);
}

export const canRedo = () => Boolean(undone.get(state.shown?.id)?.length);

export function undo() {
  if (!canUndo()) return;
  const { id } = state.shown;
  if (!undone.has(id)) undone.set(id, []);
  const example = shownExample();
  if (example) {
    const [rest, last] = withoutLast(example.hint);
    undone.get(id).push(last);
    sendHint(id, rest);
  } else {
    const { edits } = shownQuery();
    undone.get(id).push(edits.at(-1));
    sendEdits(id, edits.slice(0, -1));
  }
  announce("Undone");
}

export function redo() {
  if (!canRedo()) return;
  const { id } = state.shown;
  const last = undone.get(id).pop();
  const example = shownExample();
  if (example) {
    const [kind] = Object.keys(last);
    sendHint(id, kind === "box" ? last : { [kind]: [...(example.hint?.[kind] ?? []), ...last[kind]] });
  } else sendEdits(id, [...shownQuery().edits, last]);
  announce("Redone");
}
