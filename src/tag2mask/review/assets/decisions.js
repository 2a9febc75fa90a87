// Verdicts and tags: one decision is written at a time, and kept here until it is.
import { draw } from "./canvas.js";
import { forgetPictures, loadRun, post } from "./network.js";
import { chooseLabel, drawnTags, showPanel } from "./panel.js";
import { mayLeaveDrawing, openPhoto } from "./photo.js";
import { describe, listPhotos, placeAfter, showProgress } from "./queue.js";
import { $, notice, now, report, rowInSight, setBusy, tool } from "./state.js";
import { dropDrawing, undoStroke } from "./tools.js";

const CHANGED = 409, RETRY_MS = 3000, KEPT_DRAWINGS = 10;
const NOT_SAVED_YET = "The last decision isn't saved yet; press z to drop it.";
let waiting = null, later = null, undoing = Promise.resolve();
const saved = new Map();  // the last drawings that were saved, by photo: undo shows them again

export function isWaiting() { return waiting !== null; }

/** Opens a photo unless the last decision isn't written yet. */
export async function leaveFor(place) {
  if (waiting) notice(NOT_SAVED_YET);
  else if (mayLeaveDrawing()) await openPhoto(place);
}
/** Whether strokes would be kept: the photo is left once its verdict is written. */
export function mayDraw() {
  const isFree = !waiting || waiting.tagsOnly && (!later || later.tagsOnly);
  if (!isFree) notice(NOT_SAVED_YET);
  return isFree;
}

async function send(place, action, values, drawing) {
  const { id, version } = now.run.photos[place], { generation } = now.run;
  const known = { photo: id, version, generation };
  now.run.photos[place] = await post(place, action, { ...values, ...known }, drawing);
  describe(place);
  showProgress();
}
/** Decides about the photo in sight, unless that would discard a drawing that is to be kept. */
export async function decide(verdict) {
  if (now.photo && (verdict === "corrected" || mayLeaveDrawing())) await write(verdict);
}
async function write(verdict, { tagsOnly = false } = {}) {
  const photo = now.photo;
  if (waiting) {  // a verdict that waits sends the tags as well
    if (!tagsOnly || !later) later = { place: photo.place, verdict, tagsOnly };
    return;
  }
  const { place, name } = photo, isDrawn = verdict === "corrected" && !tagsOnly;
  if (isDrawn) for (const tag of drawnTags()) photo.tags.add(tag);
  const tags = [...photo.tags], drawing = isDrawn ? photo.drawing : null;
  waiting = { place, tags, name, verdict, drawing, tagsOnly, failed: false };
  setBusy("saving", true);
  await sendWaiting();
}
async function sendWaiting() {
  const sent = waiting, { place, verdict, tags, name, drawing, tagsOnly } = sent;
  sent.failed = false;
  try {
    await send(place, "decision", { verdict, tags, mask: name, tags_only: tagsOnly }, drawing);
  } catch (error) {
    return notWritten(sent, error);
  }
  const following = later;
  waiting = later = null;
  setBusy("saving", false);
  notice("");
  now.run.undoable.push(place);
  keepSaved(now.run.photos[place].id, drawing);
  if (now.photo.place !== place) return;
  if (!tagsOnly) dropDrawing();
  if (following?.place === place && (tagsOnly || following.tagsOnly))
    return write(following.tagsOnly ? rowInSight().verdict : following.verdict, following);
  if (tagsOnly) return showPanel();
  const next = placeAfter(1);
  await openPhoto(next ?? place);
  if (next === undefined) notice("This was the last photo.");
}
function keepSaved(id, drawing) {
  saved.delete(id);
  if (drawing) saved.set(id, drawing);
  if (saved.size > KEPT_DRAWINGS) saved.delete(saved.keys().next().value);
}
async function notWritten(sent, error) {
  if (error.status === CHANGED) {
    waiting = later = null;
    notice(`Not saved: ${error.message}`);
    await reload(sent.place);
    return setBusy("saving", false);
  }
  notice(`Not saved: ${error.message}. The decision is kept here; it is tried again every few `
    + "seconds.");
  sent.failed = true;
  setTimeout(() => { if (waiting === sent) sendWaiting(); }, RETRY_MS);
}

/** Takes back a decision that can't be written, a stroke, or the last decision; one at a time. */
export function undo() {
  undoing = undoing.then(undoLast).catch(report);
  return undoing;
}
async function undoLast() {
  if (waiting) return waiting.failed && dropWaiting();
  if (now.photo?.dirty) return undoStroke();
  const place = now.run.undoable.pop();
  if (place === undefined) return notice("Nothing to undo.");
  try {
    await send(place, "undo", {});
    notice("");
    await openPhoto(place);
    showAgain(saved.get(now.photo.id));
    saved.delete(now.photo.id);
  } catch (error) {
    notice(`Not undone: ${error.message}`);
    if (error.status === CHANGED) await reload(place); else now.run.undoable.push(place);
  }
}
/** Shows a drawing whose saving was taken back, as one that isn't saved yet. */
function showAgain(drawing) {
  const photo = now.photo, base = photo.masks[photo.name] || photo.image;
  if (!drawing || drawing.width !== base?.width || drawing.height !== base.height) return;
  const before = base.values || new Uint8Array(drawing.values.length);
  Object.assign(photo, { drawing, strokes: [before.slice()], dirty: true });
  showPanel();
  draw();
}
function dropWaiting() {
  waiting = later = null;
  setBusy("saving", false);
  now.photo.tags = new Set(rowInSight().tags);
  notice("Dropped.");
  showPanel();
}

export function toggleTag(name) {
  const { tags } = now.photo;
  if (tags.has(name)) tags.delete(name); else tags.add(name);
  showPanel();
  write(rowInSight().verdict, { tagsOnly: true });
}

/** Loads the run again after it changed, or another page decided; a drawing stays. */
async function reload(place) {
  const { id } = now.run.photos[place], before = now.photo;
  const kept = before?.place === place && before.dirty ? before : null, { label } = tool;
  try {
    now.run = await loadRun();
  } catch (error) {
    return notice(`${$("notice").textContent} ${error.message}`);
  }
  const found = now.run.photos.findIndex(own => own.id === id);
  now.at = -1;  // places are new
  now.photo = null;  // and classes may be
  forgetPictures();
  listPhotos();
  await openPhoto(Math.max(0, found));
  if (!kept || found < 0 || now.at !== found) return;
  const { drawing, strokes, forgotStrokes } = kept;
  Object.assign(now.photo, { drawing, strokes, forgotStrokes, dirty: true });
  chooseLabel(label);
  showPanel();
  draw();
}
