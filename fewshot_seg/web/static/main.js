// Starts the page: tabs, panes of narrow screens, theme, the newcomer's three steps.

import { byId, h, icon, refill, toast, trying, announce } from "./dom.js";
import "./classes.js";
import "./keys.js";
import { openSearch } from "./search.js";
import { view } from "./stage.js";
import { on, queries, reload, show, shownImage, state } from "./state.js";
import "./thumbs.js";
import "./why.js";

const TABS = ["label", "search", "why"];

function openTab(name, focus = false) {
  for (const one of TABS) {
    const tab = byId(`tab-${one}`);
    tab.setAttribute("aria-selected", String(one === name));
    tab.tabIndex = one === name ? 0 : -1;
    byId(`panel-${one}`).hidden = one !== name;
  }
  if (focus) byId(`tab-${name}`).focus();
  history.replaceState(null, "", name === "label" ? location.pathname : `#${name}`);
  if (name === "label") view.draw(true);
  if (name === "search") openSearch();
}

for (const [at, name] of TABS.entries()) {
  byId(`tab-${name}`).addEventListener("click", () => openTab(name));
  byId(`tab-${name}`).addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: 2, Home: 3 - at, End: 2 - at }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    openTab(TABS[(at + by) % 3], true);
  });
}

function openPane(name) {
  byId("panel-label").dataset.pane = name;
  for (const button of document.querySelectorAll(".panes button")) button.setAttribute("aria-pressed", String(button.dataset.pane === name));
}

for (const button of document.querySelectorAll(".panes button")) button.addEventListener("click", () => openPane(button.dataset.pane));
byId("panel-label").addEventListener("pane", ({ detail }) => openPane(detail));

const THEMES = { auto: ["auto", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] };
function setTheme(name) {
  if (name === "auto") {
    localStorage.removeItem("theme");
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem("theme", name);
    document.documentElement.dataset.theme = name;
  }
  const button = byId("theme");
  refill(button, icon(THEMES[name][0]));
  button.setAttribute("aria-label", `Colours: ${THEMES[name][1]}`);
  button.title = `Colours: ${THEMES[name][1]}`;
}
byId("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % names.length];
  setTheme(next);
  announce(`Colours: ${THEMES[next][1]}`);
});
setTheme(document.documentElement.dataset.theme ?? "auto");

function drawWelcome() {
  byId("welcome").hidden = Boolean(shownImage());
  if (shownImage()) return;
  const steps = [
    ["Show one example", "Under Examples, drop a photo of the thing. Give it a name, and mark it if other things are in the photo.", state.project.examples.length],
    ["Add the photos to label", "Under Photos, drop them or open a folder.", queries().length],
    ["Run", "Then go through the masks: accept, correct, and use a good one as a further example.", queries().some((image) => image.state === "done")],
  ];
  const next = steps.findIndex(([, , done]) => !done);
  const pane = next === 0 ? "classes" : "queries";
  refill(byId("welcome"), h("h2", { text: "From one example to all masks" }), h("ol", {}, ...steps.map(([title, text, done], at) =>
    h("li", { class: done ? "done" : at === next ? "next" : "" }, h("span", { class: "number" }, done ? icon("check") : String(at + 1)),
      h("div", {}, h("b", { text: title }), done ? h("span", { class: "hidden", text: " (done)" }) : null, h("p", { text }))))),
  h("button", { type: "button", class: "primary narrow", id: "welcome-go", onclick: () => openPane(pane), text: next === 0 ? "Go to the examples" : "Go to the photos" }));
}
on("project shown run", drawWelcome);

window.addEventListener("dragover", (event) => event.preventDefault()); // a file that misses does not replace the page
window.addEventListener("drop", (event) => event.preventDefault());
window.addEventListener("unhandledrejection", ({ reason }) => reason?.name !== "AbortError" && toast(String(reason?.message ?? reason), "error"));

await trying(async () => {
  await reload();
  if (queries().length) show("query", queries().find((image) => !image.accepted)?.id ?? queries()[0].id);
});
const asked = location.hash.slice(1);
if (TABS.includes(asked)) openTab(asked);
