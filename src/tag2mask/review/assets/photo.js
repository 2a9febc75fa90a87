// The photo in sight: opening one, and choosing which of its masks is shown.
import { changeView, draw, wholePhoto } from "./canvas.js";
import { loadPicture } from "./network.js";
import { labelsFor, showClasses, showPanel } from "./panel.js";
import { describe, placeAfter, scrollTo } from "./queue.js";
import { $, now, report, sentence, setBusy, tool } from "./state.js";
import { dropDrawing } from "./tools.js";

let openings = 0;
/** Opens a photo; the drawing on the one in sight must have been saved or dropped. */
export async function openPhoto(place) {
  const before = now.at, mine = ++openings, own = now.run.photos[place];
  const shown = now.photo?.id === own.id ? now.photo : null;  // its classes keep their numbers
  const photo = { id: own.id, place, masks: {}, name: own.masks[0] || "", maps: {}, regions: null,
    image: null, drawing: null, strokes: [], forgotStrokes: false, dirty: false,
    tags: new Set(own.tags), labels: shown?.labels || labelsFor(own.tags) };
  now.at = place;
  now.photo = photo;
  if (own.tags.length && !shown) tool.label = photo.labels[0];
  tool.cursor = null;
  setBusy("loading", true);
  describe(before);
  describe(place);
  scrollTo(place);
  $("caption").textContent = [own.id, own.split].filter(Boolean).join(" · ");
  $("validation").hidden = own.split !== "val";
  $("problem").hidden = true;
  showClasses();
  showPanel();
  try {
    const [image] = await Promise.all([loadPicture(place), changeView()]);
    if (mine !== openings) return;
    photo.image = image;
    wholePhoto();
    const next = placeAfter(1);
    if (next !== undefined) loadPicture(next).catch(() => {});
  } catch (error) {
    if (mine !== openings) return;
    $("problem").textContent = sentence(error.message);
    $("problem").hidden = false;
  }
  setBusy("loading", false);
  draw();
}

/** Whether the photo in sight has no drawing that would be lost, or it may be. */
export function mayLeaveDrawing() {
  return !now.photo?.dirty || confirm("The drawing isn't saved. Discard it?");
}

export async function showMask(name) {
  if (!mayLeaveDrawing()) { $("masks").value = now.photo.name; return; }
  now.photo.name = name;
  dropDrawing();
  showPanel();
  await changeView().catch(report);
}
