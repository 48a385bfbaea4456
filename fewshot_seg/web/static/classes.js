// The left panel: classes, their examples, and the settings.

import { pictureUrl, send, uploads } from "./api.js";
import { announce, byId, chooser, debounced, dropzone, h, icon, refill, toast, trying } from "./dom.js";
import { className, colour, emit, imageOf, on, putImage, reload, setProject, setSettings, show, shownQuery, state } from "./state.js";

/** Uploads photos as examples of a class, and opens the first to be marked. */
async function addExamples(files, name) {
  const added = [];
  for await (const { images } of uploads(files, false)) {
    for (const image of images) {
      if (image.id) added.push((putImage(image), await send("POST", "/api/project/examples", { image: image.id, class: name, hint: null })));
      else toast(image.error, "error");
    }
  }
  await opened(added, name);
}

async function opened(added, name) {
  await reload();
  if (!added.length) return;
  show("example", added[0].id);
  byId("pane-classes").dispatchEvent(new CustomEvent("pane", { detail: "image", bubbles: true }));
  toast(`Added to ${name}. Mark the thing by a box, clicks or the brush, or leave it: then the whole photo counts`);
}

async function addShown(name) {
  const image = shownQuery();
  await opened([await send("POST", "/api/project/examples", { image: image.id, class: name, hint: null })], name);
}

const freeName = () => {
  let name = "object";
  for (let number = 2; state.project.classes.includes(name); number += 1) name = `object ${number}`;
  return name;
};

async function rename(place, input) {
  const name = input.value.trim();
  if (!name || name === state.project.classes[place]) {
    input.value = state.project.classes[place];
    return;
  }
  const fine = await trying(async () => setProject(await send("PATCH", `/api/project/classes/${place}`, { name })));
  if (!fine) input.value = state.project.classes[place];
}

async function removeClass(place) {
  const name = state.project.classes[place];
  const count = state.project.examples.filter((example) => example.class === name).length;
  if (count && !confirm(`Remove ${name} with its ${count} example${count === 1 ? "" : "s"}? Its masks go, too.`)) return;
  await trying(async () => setProject(await send("DELETE", `/api/project/classes/${place}`)));
}

async function removeExample(example) {
  await trying(async () => {
    await send("DELETE", `/api/project/examples/${encodeURIComponent(example.id)}`);
    await reload();
    byId(`add-${state.project.classes.indexOf(example.class)}`)?.focus();
    announce("Example removed");
  });
}

function thumb(example, number) {
  const image = imageOf(example.image);
  const kind = !example.hint ? "no mark" : example.hint.mask ? "mask" : Object.keys(example.hint)[0];
  const sign = { "no mark": "image", mask: "check", box: "box", points: "add", strokes: "brush" }[kind];
  const name = image?.name ?? "";
  return h("li", { class: "example" },
    h("button", { type: "button", class: "picture", id: `example-${example.id}`, title: `${name}: ${kind}`, "aria-label": `Example ${number}, ${name}, ${kind}`,
      "aria-pressed": String(state.shown?.kind === "example" && state.shown.id === example.id), onclick: () => show("example", example.id) },
    h("img", { src: pictureUrl(example.image, 256), alt: "", loading: "lazy" }), h("span", { class: "badge" }, icon(sign))),
    h("button", { type: "button", class: "ghost remove", "aria-label": `Remove example ${number}, ${name}`, onclick: () => removeExample(example) }, icon("cross")));
}

function card(name, place) {
  const mine = state.project.examples.filter((example) => example.class === name);
  const swatch = h("button", { type: "button", class: "swatch", id: `class-${place}`, "aria-pressed": String(place === state.place), text: String(place + 1),
    "aria-label": `Mark ${name}`, title: `Mark ${name} (${place + 1})`, onclick: () => ((state.place = place), emit("tool")) });
  swatch.style.background = colour(place + 1);
  const input = h("input", { type: "text", id: `name-${place}`, class: "name", "aria-label": `Name of class ${place + 1}`, maxlength: "80", autocomplete: "off",
    onchange: () => rename(place, input), onkeydown: (event) => event.key === "Enter" && input.blur() });
  input.value = name;
  const add = h("button", { type: "button", id: `add-${place}`, class: "add", "aria-label": `Add example photos of ${name}`, title: "Add example photos, or drop them here" }, icon("plus"));
  const node = h("section", { class: "card", "aria-label": `Class ${name}` },
    h("div", { class: "row" }, swatch, input,
      h("button", { type: "button", class: "ghost", id: `remove-${place}`, "aria-label": `Remove class ${name}`, title: "Remove class", onclick: () => removeClass(place) }, icon("trash"))),
    h("ul", { class: "examples" }, ...mine.map((example, at) => thumb(example, at + 1)), h("li", { class: "example" }, add)),
    mine.length ? null : h("p", { class: "note", text: "Drop a photo of it here, or press +. One is enough to begin." }),
    h("button", { type: "button", class: "ghost shown", id: `shown-${place}`, hidden: place !== state.place || !shownQuery() || shownQuery().state === "error",
      onclick: () => trying(() => addShown(name)), text: "Use the shown photo" }));
  node.classList.toggle("chosen", place === state.place);
  chooser(add, (files) => addExamples(files, name));
  dropzone(node, (files) => addExamples(files, name));
  return node;
}

function first() {
  const pick = h("button", { type: "button", class: "primary", id: "first-pick" }, icon("upload"), h("span", { text: "Choose a photo" }));
  const node = h("div", { class: "drop" }, h("p", { text: "Start here: one photo of the thing you are looking for. Drop it here, or choose it." }), pick);
  const take = async (files) => {
    const name = freeName();
    await addExamples(files, name);
    const input = byId(`name-${state.project.classes.indexOf(name)}`);
    if (input?.offsetParent) input.select();
  };
  chooser(pick, take);
  dropzone(node, take);
  return node;
}

function draw() {
  const { classes, settings } = state.project;
  if (!byId("classes").contains(document.activeElement) || document.activeElement.tagName !== "INPUT" || document.activeElement.type !== "text")
    refill(byId("classes"), ...(classes.length ? classes.map(card) : [first()]));
  const auto = settings.threshold === null || settings.threshold === undefined;
  byId("threshold-auto").checked = auto;
  byId("threshold").disabled = auto;
  if (!auto) byId("threshold").value = settings.threshold;
  byId("threshold-out").textContent = auto ? "auto" : Number(settings.threshold).toFixed(2);
  byId("presence").value = settings.presence ?? 0.5;
  byId("presence-out").textContent = Number(byId("presence").value).toFixed(2);
  byId("meaning").value = settings.meaning ?? "auto";
}

const send_ = debounced(setSettings, 90);
const slide = (name) => {
  const value = Number(byId(name).value);
  state.project.settings[name] = value;
  byId(`${name}-out`).textContent = value.toFixed(2);
  send_({ [name]: value });
};
byId("threshold").addEventListener("input", () => slide("threshold"));
byId("presence").addEventListener("input", () => slide("presence"));
byId("threshold-auto").addEventListener("change", () =>
  setSettings({ threshold: byId("threshold-auto").checked ? null : Number(byId("threshold").value) }).then(draw));
byId("meaning").addEventListener("change", () => setSettings({ meaning: byId("meaning").value }));
byId("class-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = byId("class-new");
  const name = input.value.trim();
  if (!name) return;
  trying(async () => {
    setProject(await send("POST", "/api/project/classes", { name }));
    input.value = "";
    state.place = state.project.classes.indexOf(name);
    emit("tool");
    announce(`Class ${className()} added`);
  });
});
on("project shown tool", draw);
