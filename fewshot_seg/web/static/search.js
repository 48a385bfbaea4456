// The Search tab: an index is chosen or built, a query and a box in it, the sheet of hits.

import { form, get, lines } from "./api.js";
import { announce, byId, chooser, dropzone, h, icon, refill, toast, trying } from "./dom.js";
import { drawBox, drawCursor } from "./marks.js";
import { progress } from "./run.js";
import { on, state } from "./state.js";
import { Hand } from "./tools.js";
import { View } from "./view.js";
import { explain } from "./why.js";

const MOST = 40; // hits
let query = null; // File
let box = null;
let abort = null;

const view = new View(byId("search-canvas"), (context) => {
  const shown = hand.draft?.box ?? box;
  if (shown) drawBox(context, view, shown, 1);
  drawCursor(context, view, hand, "box");
});
const hand = new Hand(view, { tool: () => "box", radius: () => 1, box: setBox, point() {}, stroke() {}, painting() {}, unpaint() {} });

function setBox(made) {
  box = made;
  byId("search-unbox").disabled = !box;
  view.draw();
  announce(box ? "Box drawn: only that part is looked for" : "Box cleared");
}

function drawState() {
  byId("search-go").disabled = !query || !byId("index").value;
  byId("search-empty").hidden = Boolean(query);
}

async function listIndexes(chosen) {
  const { indexes } = await get("/api/indexes");
  const select = byId("index");
  const kept = chosen ?? select.value;
  refill(select, ...(indexes.length ? indexes.map(({ name, images }) => h("option", { value: name, text: `${name} (${images} images)` }))
    : [h("option", { value: "", text: "none yet: build one below" })]));
  if (indexes.some(({ name }) => name === kept)) select.value = kept;
  drawState();
}

function listFolders() {
  const { folders } = state.project;
  const select = byId("index-folder");
  if (select.length === folders.length) return;
  refill(select, ...folders.map(({ id, name }) => h("option", { value: String(id), text: name })));
  if (!byId("index-name").value && folders.length) byId("index-name").value = folders[0].name;
  drawFold();
}

function drawFold() {
  const none = !state.project.folders.length;
  byId("index-none").hidden = !none;
  for (const id of ["index-folder", "index-name", "index-build"]) byId(id).disabled = none || Boolean(abort);
}

async function build(event) {
  event.preventDefault();
  const name = byId("index-name").value.trim();
  if (!name) {
    toast("Give the index a name");
    byId("index-name").focus();
    return;
  }
  abort = new AbortController();
  drawFold();
  byId("index-bar").value = 0;
  byId("index-note").textContent = "Starting";
  byId("index-progress").hidden = false;
  const fine = await trying(async () => {
    for await (const line of lines("/api/indexes", { name, folder: Number(byId("index-folder").value) }, abort.signal)) {
      if (!line.finished) progress(byId("index-bar"), byId("index-note"), line);
      else toast(`Index ${line.name} is built: ${line.images} images`);
    }
  });
  if (!fine && abort.signal.aborted) toast("Cancelled");
  abort = null;
  byId("index-progress").hidden = true;
  drawFold();
  await trying(() => listIndexes(fine ? name : undefined));
}

async function take(files) {
  if (!files.length) return;
  [query] = files;
  setBox(null);
  drawState();
  const url = URL.createObjectURL(query);
  await view.open(() => url, null).catch(() => {
    query = null;
    drawState();
    throw new Error(`${files[0].name}: this browser cannot show it: choose a JPEG or PNG`);
  });
  byId("search-canvas").setAttribute("aria-label", `Query ${files[0].name}: draw a box around what to look for`);
}

async function search() {
  if (byId("search-go").disabled) return;
  const index = byId("index").value;
  const data = new FormData();
  data.append("index", index);
  data.append("query", query, query.name);
  data.append("k", String(MOST));
  if (box) data.append("box", box.join(","));
  byId("search-go").disabled = true;
  byId("hits").setAttribute("aria-busy", "true");
  const sent = query;
  await trying(async () => {
    const { hits } = await form("/api/search", data);
    byId("hits-empty").hidden = hits.length > 0;
    byId("hits-empty").textContent = "Nothing was found: try a larger box, or another index.";
    refill(byId("hits"), ...hits.map((hit, at) => card(hit, at, sent)));
    announce(`${hits.length} hits`);
  });
  byId("hits").removeAttribute("aria-busy");
  drawState();
}

function card(hit, at, sent) {
  const [, name, row] = hit.image.match(/indexes\/(.+)\/images\/([^/]+)$/);
  const why = () => trying(async () => {
    const dialog = byId("reason");
    dialog.showModal();
    try {
      await explain(byId("reason-out"), [sent], [{ at: `${decodeURIComponent(name)}/${row}`, url: hit.image, name: hit.name }]);
    } catch (error) {
      dialog.close();
      throw error;
    }
  });
  return h("li", {}, h("img", { src: `${hit.image}?side=320`, alt: hit.name, loading: "lazy" }),
    h("p", { class: "name", text: hit.name, title: hit.name }),
    h("div", { class: "under" }, h("span", { text: `${at + 1}.` }), h("b", { text: hit.score.toFixed(3), title: "Score" }),
      h("button", { type: "button", class: "ghost", "aria-label": `Why ${hit.name}`, onclick: why }, icon("heat"), h("span", { text: "Why" }))));
}

chooser(byId("search-choose"), take, false);
dropzone(byId("panel-search"), take);
byId("search-unbox").addEventListener("click", () => setBox(null));
byId("search-go").addEventListener("click", search);
byId("index").addEventListener("change", drawState);
byId("index-form").addEventListener("submit", build);
on("project", listFolders);

let listed = false;
/** Called as the tab is opened. */
export function openSearch() {
  if (!listed) trying(listIndexes);
  listed = true;
  drawFold();
  view.fit();
}
