// What the parts of the page share: the run, the photo in sight, the tool, the notice.
// Names of photos and classes reach the page as text only (textContent, Option, setAttribute).

export const IGNORED = 255;
const IGNORED_COLOR = [224, 224, 192];

export const $ = id => document.getElementById(id);

/**
 * run: the answer of /api/state; shown: the places in the queue, in order; at: the place in sight;
 * photo: what is loaded and drawn of it.
 */
export const now = { run: null, shown: [], at: -1, photo: null };
// A finger that scrolls must not paint: there, the brush is to be chosen.
export const tool = { name: matchMedia("(pointer: coarse)").matches ? "move" : "brush", label: 1,
  size: 12, cursor: null, pointer: null };

export function rowInSight() { return now.run.photos[now.at]; }
export function maskInSight() {
  return now.photo.drawing || now.photo.masks[now.photo.name] || null;
}

export function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

export function sentence(text) {
  return text[0].toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");
}
export function report(error) { notice(sentence(error.message)); }

const busy = new Set();
/** Says for whoever can't see it that a photo is loaded, or a decision isn't written yet. */
export function setBusy(reason, is) {
  if (is) busy.add(reason); else busy.delete(reason);
  $("stage").setAttribute("aria-busy", String(busy.size > 0));
}

export function colorOf(label) {
  return label === IGNORED ? IGNORED_COLOR : now.run.colors[label];
}
