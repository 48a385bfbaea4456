// The verdict on a photo: accept, reject, make an example of it; and which comes next.

import { imagePath, send } from "./api.js";
import { announce, toast, trying } from "./dom.js";
import { run } from "./run.js";
import { filtered, putImage, queries, recount, reload, show, shownQuery, state } from "./state.js";

/** The photo `by` places away among those shown in the list; `open`: the next that is not accepted. */
export function step(by, open = false) {
  const list = filtered().length ? filtered() : queries();
  const at = list.findIndex((image) => image.id === state.shown?.id);
  let next = at < 0 ? list[0] : list[at + by];
  if (open && at >= 0) next = [...list.slice(at + 1), ...list.slice(0, at)].find((image) => !image.accepted && image.state !== "error");
  if (next) show("query", next.id);
  else announce(open ? "All are accepted" : "No further photo");
}

export async function judge(accepted) {
  const image = shownQuery();
  if (!image) return;
  if (image.state !== "done") {
    if (accepted) toast("Run first: there is no mask to accept yet");
    else step(1);
    return;
  }
  await trying(async () => {
    if (image.accepted !== accepted) putImage(await send("POST", imagePath(image.id, "/accept"), { accepted }));
    recount();
    announce(`${image.name} ${accepted ? "accepted" : "not accepted"}`);
    if (state.shown?.id === image.id) step(1, accepted);
  });
}

/** The accepted mask becomes an example of its classes, and all that is not accepted is run again. */
export async function makeExample() {
  const image = shownQuery();
  if (!image) return;
  if (state.running) {
    toast("A run is under way: wait for it, or cancel it");
    return;
  }
  if (image.state !== "done") {
    toast("Run first: there is no mask to make an example of");
    return;
  }
  await trying(async () => {
    if (!image.accepted) putImage(await send("POST", imagePath(image.id, "/accept"), { accepted: true }));
    await send("POST", imagePath(image.id, "/example"));
    await reload();
    toast(`${image.name} is an example now: the rest is run again`);
    if (queries().some((one) => !one.accepted)) await run(null);
  });
}
