// The photo on the canvas, with its mask, its maps or where two masks disagree.
import { loadMap, loadMask } from "./network.js";
import { contours, overlay } from "./overlay.js";
import { $, maskInSight, now, rowInSight, setBusy, tool } from "./state.js";

export const canvas = $("canvas");
const context = canvas.getContext("2d");
const layer = document.createElement("canvas"), layerContext = layer.getContext("2d");
const view = { scale: 1, x: 0, y: 0, isWhole: true };
const CONTOUR = "#ffffffd0", CONTOUR_WIDTH = 1.25;
const SMALLEST_SCALE = .05, LARGEST_SCALE = 40;

/** Width and height, px, at which the photo in sight is drawn on. */
export function size() {
  const found = now.photo && maskInSight() || now.photo?.image;
  return found ? [found.width, found.height] : [1, 1];
}
export function wholePhoto() {
  const [width, height] = size(), box = canvas.getBoundingClientRect();
  view.scale = Math.min(box.width / width, box.height / height) || 1;
  view.x = (box.width - width * view.scale) / 2;
  view.y = (box.height - height * view.scale) / 2;
  view.isWhole = true;
  draw();
}
new ResizeObserver(() => {
  if (now.photo?.image && view.isWhole) wholePhoto(); else draw();
}).observe(canvas);
export function isWhole() { return view.isWhole; }
export function zoom(factor, x, y) {
  const box = canvas.getBoundingClientRect();
  x ??= box.width / 2;
  y ??= box.height / 2;
  const scale = Math.min(LARGEST_SCALE, Math.max(SMALLEST_SCALE, view.scale * factor));
  view.x = x - (x - view.x) * scale / view.scale;
  view.y = y - (y - view.y) * scale / view.scale;
  view.scale = scale;
  view.isWhole = false;
  draw();
}
export function movePhoto(dx, dy) {
  view.x += dx;
  view.y += dy;
  view.isWhole = false;
  draw();
}
/** The pixel of the photo under a pointer. */
export function pointOf(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left - view.x) / view.scale,
    (event.clientY - box.top - view.y) / view.scale];
}

let isDue = false;
/** Paints before the next frame, once. */
export function draw() {
  if (!isDue) requestAnimationFrame(() => { isDue = false; paint(); });
  isDue = true;
}
function paint() {
  const box = canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1;
  canvas.classList.toggle("scrolls", tool.name === "move" && view.isWhole);
  canvas.width = Math.round(box.width * ratio);
  canvas.height = Math.round(box.height * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  if (!now.photo?.image) return;
  const [width, height] = size();
  const place = [view.x, view.y, width * view.scale, height * view.scale];
  context.imageSmoothingEnabled = view.scale < 2;
  context.drawImage(now.photo.image, ...place);
  const values = overlay();
  if (values) {
    layer.width = values.width;
    layer.height = values.height;
    layerContext.putImageData(values, 0, 0);
    context.globalAlpha = $("opacity").value / 100;
    context.imageSmoothingEnabled = $("layer").value === "map";
    context.drawImage(layer, ...place);
    context.globalAlpha = 1;
    if ($("layer").value === "mask" && +$("opacity").value) paintContours();
  }
  showBrush();
  if (tool.cursor) paintCursor(...tool.cursor);
}
/** Light lines around the classes: dark colors can't be seen on a dark photo. */
function paintContours() {
  context.save();
  context.translate(view.x, view.y);
  context.scale(view.scale, view.scale);
  context.lineWidth = CONTOUR_WIDTH / view.scale;
  context.strokeStyle = CONTOUR;
  context.stroke(contours(maskInSight(), +$("only").value));
  context.restore();
}
/** Shows the size of brush and eraser around the mouse. */
function showBrush() {
  const side = Math.max(1, tool.size * view.scale), brush = $("brush");
  brush.hidden = !tool.pointer || !["brush", "eraser"].includes(tool.name);
  if (brush.hidden) return;
  brush.style.setProperty("width", `${side}px`);
  brush.style.setProperty("height", `${side}px`);
  const [x, y] = tool.pointer, box = canvas.getBoundingClientRect();
  brush.style.setProperty("left", `${x - box.left - side / 2}px`);
  brush.style.setProperty("top", `${y - box.top - side / 2}px`);
}
export function moveBrush(pointer) {
  tool.pointer = pointer;
  showBrush();
}
function paintCursor(x, y) {
  const radius = Math.max(2, tool.size * view.scale / 2);
  for (const [color, width] of [["#000", 3], ["#fff", 1]]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.beginPath();
    context.arc(view.x + (x + .5) * view.scale, view.y + (y + .5) * view.scale, radius, 0, 7);
    context.stroke();
  }
}

/** Loads what the chosen view needs, and paints it. */
export async function changeView() {
  const kind = $("layer").value, only = +$("only").value, photo = now.photo;
  const names = kind === "difference" ? rowInSight().masks : [photo.name];
  setBusy("view", true);
  try {
    if (kind === "map") await loadMap(photo, only, now.run.classes[only]);
    await Promise.all(names.map(name => loadMask(photo, name)));
  } finally {
    setBusy("view", false);
    draw();
  }
}
