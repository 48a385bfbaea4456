// A run over the photos: progress, time left, cancelling; and the export of what came of it.

import { blob, get, lines } from "./api.js";
import { announce, byId, h, icon, refill, toast, trying } from "./dom.js";
import { allSettled } from "./edits.js";
import { on, emit, putImage, queries, reload, show, shownQuery, state, stateOf } from "./state.js";

let abort = null;

/** "12 s", "3 min 20 s". */
export function spell(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** Fills a progress bar and its line; says each quarter aloud. */
export function progress(bar, note, { done, total, seconds_left: left }) {
  const text = `${done} of ${total}${done < total && left !== null && left !== undefined ? `, ${spell(left)} left` : ""}`;
  if (Math.floor((4 * done) / total) > Math.floor(4 * bar.value)) announce(text);
  bar.value = total ? done / total : 0;
  note.textContent = text;
}

function setRunning(running) {
  state.running = running;
  byId("run-progress").hidden = !running;
  byId("run-row").hidden = running;
  emit("run");
}

/** Runs images by id; null: all that are not accepted. Results are shown as they come. */
export async function run(images) {
  if (state.running) return;
  abort = new AbortController();
  byId("run-bar").value = 0;
  byId("run-note").textContent = "Starting: the examples are read first";
  setRunning(true);
  announce("Running");
  let first = !shownQuery();
  let done = 0;
  try {
    await allSettled();
    const fine = await trying(async () => {
      for await (const line of lines("/api/project/run", { images }, abort.signal)) {
        if (line.finished) announce(`Finished: ${done} photos in ${spell(line.seconds)}`);
        else {
          done = line.done;
          progress(byId("run-bar"), byId("run-note"), line);
          putImage(line.image);
          if (first) show("query", line.image.id);
          first = false;
        }
      }
    });
    if (!fine && abort.signal.aborted) toast(`Cancelled after ${done}: what is done is kept`);
  } finally {
    setRunning(false);
    await trying(reload);
  }
}

const fresh = () => queries().filter((image) => !image.accepted && image.state === "new");

function drawRun() {
  const todo = queries().filter((image) => !image.accepted);
  const button = byId("run");
  refill(button, icon("play"), h("span", { text: todo.length ? `Run ${todo.length} photo${todo.length === 1 ? "" : "s"}` : "Run" }));
  button.disabled = !todo.length || !state.project.examples.length;
  button.classList.toggle("primary", button.disabled || fresh().length > 0);
  button.title = button.disabled ? "Needs an example and a photo that is not accepted" : "Label every photo that is not accepted (G)";
  const some = fresh().length;
  byId("run-new").hidden = !some || some === todo.length || !state.project.examples.length;
  byId("run-new").textContent = `Only ${some} new`;
}

export const runAll = () => !byId("run").disabled && run(null);

byId("run").addEventListener("click", runAll);
byId("run-new").addEventListener("click", () => run(fresh().map((image) => image.id)));
byId("run-cancel").addEventListener("click", () => abort?.abort());
on("project image run", drawRun);

// Export

async function openExport() {
  const counts = { accepted: queries().filter((image) => image.accepted).length,
    all: queries().filter((image) => ["done", "doubtful", "absent", "accepted"].includes(stateOf(image))).length };
  byId("export-accepted").textContent = `(${counts.accepted})`;
  byId("export-all").textContent = `(${counts.all})`;
  const which = byId("export-form").elements.which;
  if (!counts.accepted) which.value = "0";
  if (!byId("export-format").length) {
    const { formats } = await get("/api/formats");
    byId("export-format").append(...formats.map(({ name, title }) => h("option", { value: name, text: title })));
    byId("export-format").value = localStorage.getItem("format") ?? formats[0].name;
  }
  byId("export").showModal();
}

async function download(event) {
  event.preventDefault();
  const format = byId("export-format").value;
  localStorage.setItem("format", format);
  const accepted = byId("export-form").elements.which.value;
  const button = byId("export-go");
  button.disabled = true;
  await trying(async () => {
    await allSettled();
    const url = URL.createObjectURL(await blob(`/api/project/export?format=${encodeURIComponent(format)}&accepted=${accepted}`));
    const name = `${state.project.name || "masks"}-${format}.zip`;
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
    byId("export").close();
    toast(`Exported: ${name}`);
  });
  button.disabled = false;
}

byId("export-open").addEventListener("click", () => trying(openExport));
byId("export-form").addEventListener("submit", download);
