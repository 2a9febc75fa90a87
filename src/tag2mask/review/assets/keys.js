// Keys, buttons and choices: what each of them does.
import { canvas, changeView, draw, wholePhoto, zoom } from "./canvas.js";
import { decide, isWaiting, leaveFor, toggleTag, undo } from "./decisions.js";
import { chooseLabel, chooseTool } from "./panel.js";
import { showMask } from "./photo.js";
import { listPhotos, placeAfter } from "./queue.js";
import { $, IGNORED, notice, now, tool } from "./state.js";
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
}
function nextOpacity() {
  $("opacity").value = (+$("opacity").value + 25) % 125;
  draw();
}
const keys = {
  g: () => decideFrom("good"), b: () => decide("bad"), u: () => decide("unsure"),
  s: () => decideFrom("corrected"), Enter: () => decideFrom("corrected"), z: undo,
  n: () => step(1), p: () => step(-1), ArrowRight: () => step(1), ArrowLeft: () => step(-1),
  d: () => chooseTool("brush"), e: () => chooseTool("eraser"), f: () => chooseTool("fill"),
  x: () => chooseTool("superpixel"), i: () => chooseLabel(IGNORED),
  "[": () => resizeTool(tool.size - 2), "]": () => resizeTool(tool.size + 2),
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
/** Whether a digit chooses a class, or with Shift a tag. */
function usedAsDigit(event) {
  const digit = /^Digit(\d)$/.exec(event.code);
  if (!digit) return false;
  const label = +digit[1], name = now.run.classes[label];
  if (name !== undefined && !event.shiftKey) chooseLabel(label);
  else if (name !== undefined && label) toggleTag(name);
  return true;
}
document.onkeydown = event => {
  if (!now.photo) return;
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey) {
    if (event.key !== "z" || event.altKey) return;
    undo();
  } else {
    if (target instanceof HTMLSelectElement || target instanceof HTMLInputElement) return;
    if (event.key === "Enter" && target instanceof HTMLButtonElement) return;
    if (!(target === canvas && usedOnCanvas(event)) && !usedAsDigit(event)) {
      if (!keys[event.key]) return;
      keys[event.key]();
    }
  }
  event.preventDefault();
};

/** Calls a function with the button of a group that is clicked. */
function onButton(group, action) {
  $(group).onclick = event => {
    const button = event.target.closest("button");
    if (button && now.photo) action(button.dataset);
  };
}
onButton("queue", ({ place }) => leaveFor(+place));
onButton("verdicts", ({ verdict }) => decide(verdict));
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
$("layer").onchange = $("only").onchange = () => changeView().catch(error => notice(error.message));
$("masks").onchange = () => showMask($("masks").value);
$("filter").onchange = listPhotos;
$("help-button").onclick = () => {
  $("help").hidden = !$("help").hidden;
  $("help-button").setAttribute("aria-expanded", String(!$("help").hidden));
};
addEventListener("resize", () => now.photo?.image && wholePhoto());
addEventListener("beforeunload", event => {
  if (isWaiting() || now.photo?.dirty) event.preventDefault();
});
