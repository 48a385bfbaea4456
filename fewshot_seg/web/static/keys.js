// Every key and what it does: acted on here, listed in the help.

import { byId, h } from "./dom.js";
import { redo, undo, clearMarks } from "./edits.js";
import { runAll } from "./run.js";
import { choosePlace, chooseTool, toggle, TOOLS, view } from "./stage.js";
import { shownExample, state, emit } from "./state.js";
import { forget } from "./thumbs.js";
import { judge, makeExample, step } from "./verdict.js";

const grow = (factor) => {
  state.size = Math.min(160, Math.max(4, Math.round(state.size * factor)));
  emit("tool");
};

const SINGLE = [
  ["A", "Accept, and go to the next", () => judge(true)],
  ["R", "Reject: not accepted, and go to the next", () => judge(false)],
  ["U", "Use as an example, and run the rest again", makeExample],
  ["J", "Next photo", () => step(1), ["j", "PageDown"]],
  ["K", "Previous photo", () => step(-1), ["k", "PageUp"]],
  ["G", "Run", runAll],
  ...TOOLS.map(([name, , title, key]) => [key, title, () => chooseTool(name)]),
  ["1 to 9", "Class to correct", null, []],
  ["[ and ]", "Smaller or larger brush", null, []],
  ["M", "Mask on or off", () => toggle("overlay")],
  ["H", "Heat map on or off", () => toggle("heat")],
  ["+ and -", "Zoom in or out (also the wheel, or two fingers)", null, []],
  ["0", "Fit the image", () => view.fit()],
  ["Delete", "Clear an example's marks, or remove the photo", () => (shownExample() ? clearMarks() : forget()), ["Delete"]],
  ["?", "This help", () => byId("help").showModal()],
];
const ALWAYS = [
  ["Ctrl+Z", "Undo"],
  ["Ctrl+Y", "Redo (also Ctrl+Shift+Z)"],
  ["Arrows", "On the image: move the crosshair, Shift faster; in a list: choose"],
  ["Space", "On the image: click with the tool, or start and end a box or stroke; Shift: does not belong"],
  ["Shift+click", "Does not belong (also the right button)"],
  ["Escape", "Call off a box or stroke, close a dialog"],
];
const more = { "[": () => grow(1 / 1.25), "]": () => grow(1.25), "+": () => view.zoom(1.4), "=": () => view.zoom(1.4), "-": () => view.zoom(1 / 1.4) };
const table = new Map(Object.entries(more));
for (const [key, , work, keys = [key.toLowerCase()]] of SINGLE) for (const one of keys) table.set(one, work);

const typing = (target) => target.matches("input[type=text], select, textarea") || target.isContentEditable;

function pressed(event) {
  if (document.querySelector("dialog[open]") || byId("panel-label").hidden || typing(event.target)) return;
  const letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    if (letter !== "z" && letter !== "y") return;
    event.preventDefault();
    (letter === "y" || event.shiftKey ? redo : undo)();
    return;
  }
  if (event.altKey || !byId("keys-on").checked) return;
  const slider = event.target.matches("input[type=range]");
  if (slider && /^(Page|Home|End|Arrow)/.test(event.key)) return;
  const work = /^[1-9]$/.test(letter) ? () => choosePlace(Number(letter) - 1) : table.get(letter);
  if (!work) return;
  event.preventDefault();
  work();
}

document.addEventListener("keydown", pressed);
byId("keys").append(...[...SINGLE, ...ALWAYS].map(([key, text]) => h("p", {}, h("kbd", { text: key }), h("span", { text }))));
byId("keys-on").checked = localStorage.getItem("keys") !== "off";
byId("keys-on").addEventListener("change", () => localStorage.setItem("keys", byId("keys-on").checked ? "on" : "off"));
byId("help-open").addEventListener("click", () => byId("help").showModal());
