// Keys, buttons and choices: what each of them does.
import { canvas, changeView, draw, wholePhoto, zoom } from "./canvas.js";
import { decide, isWaiting, leaveFor, toggleTag, undo } from "./decisions.js";
import { chooseLabel, chooseTool, stepLabel } from "./panel.js";
import { showMask } from "./photo.js";
import { listPhotos, placeAfter } from "./queue.js";
import { $, IGNORED, notice, now, report, tool } from "./state.js";
import { drawAtCursor, moveCursor, resizeTool } from "./tools.js";

const CLOSER = 1.25, FARTHER = .8;

function step(by) {
  const next = placeAfter(by);
  if (next !== undefined) leaveFor(next);
}
function cycle(select) {
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  select.dispatchEvent(new Event("change"));
}
function decideFrom(verdict) {
  const button = $("verdicts").querySelector(`[data-verdict=${verdict}]`);
  if (!button.disabled) decide(verdict);
  else if (verdict === "corrected") notice("Nothing is drawn.");
  else if (now.photo.dirty) notice("The mask was changed: press s to save the drawing.");
  else notice("This photo has no mask to accept.");
}
/** Sets or removes the tag of the class that is drawn with. */
function toggleChosen() {
  if (now.photo.labels.includes(tool.label)) toggleTag(now.run.classes[tool.label]);
  else notice("Background and ignored are no tags: choose a class.");
}
function nextOpacity() {
  $("opacity").value = (+$("opacity").value + 25) % 125;
  draw();
}
const VERDICT_KEYS = ["g", "b", "u", "s", "Enter"];
const keys = {
  g: () => decideFrom("good"), b: () => decide("bad"), u: () => decide("unsure"),
  s: () => decideFrom("corrected"), Enter: () => decideFrom("corrected"), z: undo,
  n: () => step(1), p: () => step(-1), ArrowRight: () => step(1), ArrowLeft: () => step(-1),
  d: () => chooseTool("brush"), e: () => chooseTool("eraser"), f: () => chooseTool("fill"),
  x: () => chooseTool("superpixel"), i: () => chooseLabel(IGNORED),
  t: toggleChosen,
  "[": () => resizeTool(tool.size - 2), "]": () => resizeTool(tool.size + 2),
  ",": () => stepLabel(-1), ".": () => stepLabel(1),
  v: () => cycle($("layer")), m: () => cycle($("masks")), c: () => cycle($("only")), o: nextOpacity,
  "+": () => zoom(CLOSER), "-": () => zoom(FARTHER), r: wholePhoto,
  h: () => $("help-button").click(),
};

/** Whether a key on the photo draws or moves the cursor. */
function usedOnCanvas(event) {
  if (event.key.startsWith("Arrow")) moveCursor(event.key, event.shiftKey);
  else if (event.key === " ") drawAtCursor();
  else return false;
  return true;
}
/**
 * The digit of a key; undefined: none. Where a key of the row of digits writes another sign, with
 * Shift or (French) without, its place counts, unless the sign is AltGr's or, without Shift, has a
 * use of its own.
 */
function digitOf({ key, code, shiftKey }, byAltGr) {
  if (/^\d$/.test(key)) return +key;
  const place = /^Digit(\d)$/.exec(code);
  return place && !byAltGr && (shiftKey || !keys[key]) ? +place[1] : undefined;
}
/** Whether a digit chooses a class by its number on this photo, or with Shift a tag. */
function usedAsDigit(event, byAltGr) {
  const digit = digitOf(event, byAltGr);
  if (digit === undefined) return false;
  const label = [0, ...now.photo.labels][digit];
  if (label !== undefined && !event.shiftKey) chooseLabel(label);
  else if (label) toggleTag(now.run.classes[label]);
  return true;
}
let isByPointer = false;  // how the control that has the focus got it
/** Whether the control that has the focus needs a key itself. */
function isOfControl({ target, key }) {
  if (target instanceof HTMLButtonElement) return key === "Enter";
  if (target instanceof HTMLInputElement) return /^(Arrow|Page|Home|End)/.test(key);
  // Letters choose an option, but not after a mouse chose one: then they are the page's.
  return target instanceof HTMLSelectElement
    && (/^(Arrow|Page|Home|End|Enter)/.test(key) || !isByPointer);
}
document.onkeydown = event => {
  if (event.key === "Tab") isByPointer = false;
  if (!now.photo) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;  // Caps Lock
  const byAltGr = event.getModifierState("AltGraph");  // some systems report it as Ctrl and Alt
  if (!byAltGr && (event.ctrlKey || event.metaKey || event.altKey)) {
    if (key !== "z" || event.altKey || event.shiftKey) return;
    undo();
  } else {
    if (isOfControl(event)) return;
    if (!(event.target === canvas && usedOnCanvas(event)) && !usedAsDigit(event, byAltGr)) {
      if (!keys[key]) return;
      if (!(event.repeat && VERDICT_KEYS.includes(key))) keys[key]();  // one photo per press
    }
  }
  event.preventDefault();
};
document.addEventListener("pointerdown", () => { isByPointer = true; });
document.addEventListener("change", ({ target }) => {
  if (isByPointer) target.blur();  // leaves the arrows to the page, too
});

/** Calls a function with the button of a group that is clicked. */
function onButton(group, action) {
  $(group).onclick = event => {
    const button = event.target.closest("button");
    if (button && now.photo) action(button.dataset);
  };
}
onButton("queue", ({ place }) => leaveFor(+place));
onButton("verdicts", ({ verdict }) => {
  canvas.focus({ preventScroll: true });  // Space and Enter must not decide the next photo, too
  decide(verdict);
});
onButton("tags", ({ tag }) => toggleTag(tag));
onButton("tools", ({ tool: name }) => chooseTool(name));
onButton("classes", ({ label }) => chooseLabel(+label));
$("previous").onclick = () => step(-1);
$("next").onclick = () => step(1);
$("undo").onclick = undo;
$("closer").onclick = () => zoom(CLOSER);
$("farther").onclick = () => zoom(FARTHER);
$("whole").onclick = wholePhoto;
$("size").oninput = () => resizeTool(+$("size").value);
$("opacity").oninput = draw;
$("layer").onchange = $("only").onchange = () => changeView().catch(report);
$("masks").onchange = () => showMask($("masks").value);
$("filter").onchange = listPhotos;
$("help-button").onclick = () => {
  $("help").hidden = !$("help").hidden;
  $("help-button").setAttribute("aria-expanded", String(!$("help").hidden));
};
addEventListener("beforeunload", event => {
  if (isWaiting() || now.photo?.dirty) event.preventDefault();
});
