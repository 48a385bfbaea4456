// The server, and nothing else on the network. What goes wrong is an Error with the server's one line.

async function checked(response) {
  if (response.ok) return response;
  let line = `The server answered ${response.status}: try again, or look at its window`;
  try {
    line = (await response.json()).error ?? line;
  } catch {
    // not JSON: the status has to do
  }
  throw new Error(line);
}

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer: is 'fewshot-seg serve' still running?");
  }
  return checked(response);
}

const json = (body) => ({ headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const get = async (path, signal) => (await call(path, { signal })).json();
export const blob = async (path, signal) => (await call(path, { signal })).blob();
export const form = async (path, data, signal) => (await call(path, { method: "POST", body: data, signal })).json();

/** A call with a JSON body; null where the answer is empty. */
export async function send(method, path, body) {
  const response = await call(path, { method, ...(body === undefined ? {} : json(body)) });
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

/** The objects of an x-ndjson answer, each as it comes. A line {"error"} ends it. */
export async function* lines(path, body, signal) {
  const response = await call(path, { method: "POST", signal, ...json(body) });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += value ?? "";
    const whole = rest.split("\n");
    rest = done ? "" : whole.pop();
    for (const line of whole.filter((text) => text.trim())) {
      const found = JSON.parse(line);
      if (found.error) throw new Error(found.error);
      yield found;
    }
    if (done) return;
  }
}

/** Uploads files a few at a time, so that a large drop shows early and fits the server's limit. */
export async function* uploads(files, query) {
  for (let start = 0; start < files.length; start += 4) {
    const data = new FormData();
    for (const file of files.slice(start, start + 4)) data.append("file", file, file.name);
    const { images } = await form(`/api/project/images?query=${query ? 1 : 0}`, data);
    yield { images, done: Math.min(start + 4, files.length) };
  }
}

const part = encodeURIComponent;
export const imagePath = (id, rest = "") => `/api/project/images/${part(id)}${rest}`;
export const pictureUrl = (id, side) => imagePath(id, side ? `/image?side=${side}` : "/image");
export const labelsUrl = (image) => imagePath(image.id, `/labels.png?v=${part(image.version)}`);
export const resultUrl = (image) => imagePath(image.id, `/result?v=${part(image.version)}`);
export const heatUrl = (image, name) => imagePath(image.id, `/heat.png?class=${part(name)}&v=${part(image.version)}`);
