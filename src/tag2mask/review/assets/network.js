// Requests to the page's server, each with the token of the page's address.

const token = new URLSearchParams(location.search).get("token") || "";
const pageId = idOfPage();
const KEPT_PICTURES = 4;
const NO_ANSWER = "the page's server doesn't answer: start `tag2mask review` again and open the "
  + "address that it prints (--token keeps the address)";

/** A reload is the same page; a duplicated tab, which copies sessionStorage, is another one. */
function idOfPage() {
  const isReload = performance.getEntriesByType("navigation")[0]?.type === "reload";
  const id = (isReload && sessionStorage.page) || Math.random().toString(36).slice(2);
  sessionStorage.page = id;
  return id;
}

function url(path, values = {}) {
  return path + "?" + new URLSearchParams({ token, ...values });
}
async function call(path, values, options = {}) {
  const answer = await fetch(url(path, values), options)
    .catch(() => { throw new Error(NO_ANSWER); });
  if (answer.ok || answer.status === 404) return answer;
  const text = await answer.text();
  let message = text;
  try { message = JSON.parse(text).error || text; } catch { /* plain text */ }
  throw Object.assign(new Error(message), { status: answer.status });
}
async function pixels(path, values, kind = Uint8Array) {
  const answer = await call(path, values);
  if (answer.status === 404) return null;
  const width = +answer.headers.get("X-Width"), height = +answer.headers.get("X-Height");
  return { width, height, values: new kind(await answer.arrayBuffer()) };
}

export async function loadRun() { return (await call("/api/state")).json(); }
export async function isAlive() { return (await call("/api/alive", { page: pageId })).json(); }

/** Sends a decision: a line of JSON, then the pixels of the drawing if there is one. */
export async function post(place, action, values, drawing) {
  if (drawing) values.size = [drawing.height, drawing.width];
  const head = new TextEncoder().encode(JSON.stringify(values) + "\n");
  const body = new Blob(drawing ? [head, drawing.values] : [head]);
  return (await call(`/api/photos/${place}/${action}`, {}, { method: "POST", body })).json();
}

export function thumbnailUrl(place) { return url(`/api/photos/${place}/thumbnail`); }

const pictures = new Map();
export function loadPicture(place) {
  if (!pictures.has(place)) {
    const made = call(`/api/photos/${place}/photo`).then(answer => answer.blob())
      .then(createImageBitmap);
    made.catch(() => pictures.delete(place));
    pictures.set(place, made);
    if (pictures.size > KEPT_PICTURES) pictures.delete(pictures.keys().next().value);
  }
  return pictures.get(place);
}
export function forgetPictures() { pictures.clear(); }

export async function loadMask(photo, name) {
  if (name && !(name in photo.masks))
    photo.masks[name] = await pixels(`/api/photos/${photo.place}/mask`, { name });
  return photo.masks[name];
}
/** Loads the scores of a class; label 0: the highest of all classes. */
export async function loadMap(photo, label, name) {
  const values = label ? { class: name } : {};
  if (!(label in photo.maps))
    photo.maps[label] = await pixels(`/api/photos/${photo.place}/map`, values);
}
export function loadRegions(photo) {
  photo.regions ??= pixels(`/api/photos/${photo.place}/superpixels`, {}, Uint16Array)
    .catch(error => { photo.regions = null; throw error; });
  return photo.regions;
}
