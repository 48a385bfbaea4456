// Elements, icons, messages. Text goes in as text nodes alone: a file's name is never markup.

const SVG = document.querySelector("svg").namespaceURI;

/** An element: `on*` are listeners, `class`, `text`, `data` ({name: value}); the rest are attributes, false or null leave one out. */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "class") node.className = value;
    else if (key === "text") node.textContent = value;
    else if (key === "data") Object.assign(node.dataset, value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** One of icons.svg, hidden from screen readers: its button has the words. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

export const byId = (id) => document.getElementById(id);

/** What screen readers say next. */
export function announce(text) {
  byId("live").textContent = text;
}

/** A message at the corner. Errors stay until they are closed; the same one is shown once. */
export function toast(text, kind = "info") {
  const box = byId("toasts");
  for (const old of box.children) if (old.dataset.text === text) old.remove();
  const close = h("button", { class: "ghost", "aria-label": "Close this message", onclick: () => node.remove() }, icon("cross"));
  const node = h("div", { class: `toast ${kind}`, role: kind === "error" ? "alert" : "status", data: { text } },
    icon(kind === "error" ? "warn" : "check"), h("p", { text }), close);
  box.append(node);
  while (box.children.length > 4) box.firstChild.remove();
  if (kind !== "error") setTimeout(() => node.remove(), 5000);
}

/** Runs `work`; what the server or the network says against it is shown. True where it went well. */
export async function trying(work) {
  try {
    await work();
    return true;
  } catch (error) {
    if (error.name !== "AbortError") toast(error.message || String(error), "error");
    return false;
  }
}

/** New children for `box`; the focus stays on the element of the same id. */
export function refill(box, ...children) {
  const held = box.contains(document.activeElement) ? document.activeElement.id : "";
  box.replaceChildren(...children.filter(Boolean));
  if (held) byId(held)?.focus({ preventScroll: true });
}

/** The function, run once no call has come for `wait` milliseconds. */
export function debounced(work, wait) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), wait);
  };
}

/** Files of a drop, folders opened; images by their name's end or their type. */
export async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) found.push(await new Promise((done, failed) => entry.file(done, failed)));
    else {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((done, failed) => reader.readEntries(done, failed));
        if (!some.length) break;
        for (const one of some) await walk(one);
      }
    }
  };
  for (const entry of entries) await walk(entry);
  return found.filter((file) => file.type.startsWith("image/"));
}

/** Makes `node` a place to drop files on. */
export function dropzone(node, take) {
  let depth = 0;
  const mark = (by) => {
    depth = Math.max(0, depth + by);
    node.classList.toggle("dropping", depth > 0);
  };
  const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  node.addEventListener("dragenter", (event) => carries(event) && (event.preventDefault(), mark(1)));
  node.addEventListener("dragleave", (event) => carries(event) && mark(-1));
  node.addEventListener("dragover", (event) => carries(event) && event.preventDefault());
  node.addEventListener("drop", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    event.stopPropagation();
    mark(-depth);
    trying(async () => take(await filesOf(event.dataTransfer)));
  });
}

/** A hidden file input behind a button: what is chosen goes to `take`. */
export function chooser(button, take, multiple = true) {
  const input = h("input", { type: "file", accept: "image/*", multiple, hidden: true, tabindex: "-1", "aria-hidden": "true" });
  button.after(input);
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = "";
    if (files.length) trying(() => take(files));
  });
}
