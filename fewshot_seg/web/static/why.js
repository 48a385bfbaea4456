// Why images are alike: their attention and cosines, for two to four photos, or a query and a hit.

import { form } from "./api.js";
import { announce, byId, chooser, dropzone, h, refill, toast } from "./dom.js";
import { readHeat } from "./overlay.js";
import { load } from "./view.js";

const MOST = 4;
let chosen = []; // Files

/** A picture with its heat map over it: a figure. `heat`: a data: URL. */
async function figure(url, name, heat, number) {
  const picture = await load(url);
  const scale = Math.min(1, 900 / Math.max(picture.naturalWidth, picture.naturalHeight));
  const width = Math.round(picture.naturalWidth * scale);
  const height = Math.round(picture.naturalHeight * scale);
  const bare = h("canvas", { width, height });
  bare.getContext("2d").drawImage(picture, 0, 0, width, height);
  const glow = h("canvas", { width, height, class: "glow" });
  const small = await readHeat(await grey(heat));
  const context = glow.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, width, height);
  return h("figure", { class: "reason" }, h("div", { class: "layers", role: "img", "aria-label": `${name} with its attention` }, bare, glow),
    h("figcaption", {}, h("b", { text: `${number} ` }), h("span", { text: name })));
}

/** The blob of a data: URL, without asking the network. */
async function grey(address) {
  const bytes = Uint8Array.from(atob(address.slice(address.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
}

function table(similarity, names) {
  const head = h("tr", {}, h("td", {}), ...names.map((name, at) => h("th", { scope: "col", text: String(at + 1), title: name })));
  const rows = similarity.map((line, row) => h("tr", {}, h("th", { scope: "row", text: String(row + 1), title: names[row] }),
    ...line.map((value, column) => {
      const cell = h("td", { text: value.toFixed(3) });
      if (row !== column) cell.style.setProperty("--strength", `${Math.round(70 * Math.max(0, value))}%`);
      return cell;
    })));
  return h("table", { class: "cosines" }, h("caption", { text: "Cosine similarity: 1 is the same, 0 unrelated" }), h("tbody", {}, head, ...rows));
}

/** Asks why, and shows the answer in `box`. `files` and `hits` ([{at: "NAME/ROW", url, name}]) together are two to four. */
export async function explain(box, files, hits = [], signal = undefined) {
  const data = new FormData();
  for (const file of files) data.append("image", file, file.name);
  for (const { at } of hits) data.append("hit", at);
  refill(box, h("p", { class: "empty", text: "Looking…" }));
  box.setAttribute("aria-busy", "true");
  const urls = files.map((file) => URL.createObjectURL(file));
  try {
    const { similarity, images } = await form("/api/explain", data, signal);
    const names = [...files, ...hits].map(({ name }) => name);
    const pictures = [...urls, ...hits.map(({ url }) => url)];
    const figures = await Promise.all(images.map(({ heat }, at) => figure(pictures[at], names[at], heat, at + 1)));
    const cosines = figures.length === 2 ? h("p", {}, "Cosine similarity ", h("b", { text: similarity[0][1].toFixed(3) }), " (1 is the same, 0 unrelated)")
      : table(similarity, names);
    refill(box, h("div", { class: `reasons of${figures.length}` }, ...figures), cosines);
    announce(figures.length === 2 ? `Similarity ${similarity[0][1].toFixed(2)}` : "Attention is shown");
  } catch (error) {
    refill(box);
    throw error;
  } finally {
    box.removeAttribute("aria-busy");
    urls.forEach((url) => URL.revokeObjectURL(url));
  }
}

async function take(files) {
  const room = MOST - chosen.length;
  if (files.length > room) toast(`Two to four photos at a time: the first ${room} of these are taken`);
  chosen = [...chosen, ...files.slice(0, room)];
  byId("why-clear").disabled = !chosen.length;
  byId("why-empty").hidden = chosen.length > 1;
  if (chosen.length === 1) byId("why-empty").textContent = `${chosen[0].name} is here. Now drop or choose one to three more.`;
  if (chosen.length > 1) await explain(byId("why-out"), chosen);
}

const asked = byId("why-empty").textContent;
byId("why-clear").addEventListener("click", () => {
  chosen = [];
  byId("why-clear").disabled = true;
  refill(byId("why-out"));
  byId("why-empty").hidden = false;
  byId("why-empty").textContent = asked;
});
byId("why-heat").addEventListener("change", () => byId("why-out").classList.toggle("bare", !byId("why-heat").checked));
chooser(byId("why-choose"), take);
dropzone(byId("panel-why"), take);
