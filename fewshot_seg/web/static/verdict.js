// The verdict on a photo: accept, reject, make an example of it; and which comes next.

import { imagePath, send } from "./api.js";
import { announce, toast, trying } from "./dom.js";
import { allSettled, decide } from "./edits.js";
import { run } from "./run.js";
import { filtered, queries, reload, show, shownQuery, state } from "./state.js";

/** The photo `by` places away among those in the list; `open`: the next that is not accepted. Undefined: there is none. */
function following(by, open) {
  const list = filtered().length ? filtered() : queries();
  const at = list.findIndex((image) => image.id === state.shown?.id);
  if (at < 0) return list[0];
  return open ? [...list.slice(at + 1), ...list.slice(0, at)].find((image) => !image.accepted && image.state !== "error") : list[at + by];
}

export function step(by, open = false) {
  const next = following(by, open);
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
  const next = following(1, accepted); // before the list's filter drops this one
  const decided = image.accepted === accepted || decide(image, accepted);
  announce(`${image.name} ${accepted ? "accepted" : "not accepted"}`);
  if (next) show("query", next.id);
  else announce(accepted ? "All are accepted" : "No further photo");
  await decided;
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
  const next = following(1, true);
  if (!image.accepted && !(await decide(image, true))) return;
  await trying(async () => {
    await allSettled();
    await send("POST", imagePath(image.id, "/example"));
    await reload();
    toast(`${image.name} is an example now: the rest is run again`);
    if (next) show("query", next.id);
    if (queries().some((one) => !one.accepted)) await run(null);
  });
}
