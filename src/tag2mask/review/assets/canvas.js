// The photo on the canvas, with its mask, its maps or where two masks disagree.
import { loadMap, loadMask } from "./network.js";
import { $, IGNORED, colorOf, maskInSight, now, rowInSight, setBusy, tool } from "./state.js";

export const canvas = $("canvas");
const context = canvas.getContext("2d");
const layer = document.createElement("canvas"), layerContext = layer.getContext("2d");
const view = { scale: 1, x: 0, y: 0, isWhole: true };
const SMALLEST_SCALE = .05, LARGEST_SCALE = 40;
const DISAGREEMENT = 0xff00a5ff;  // orange, as the bytes of a pixel are stored

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
  }
  if (tool.cursor) paintCursor(...tool.cursor);
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

/** The pixels to paint over the photo; null: none. */
function overlay() {
  const kind = $("layer").value, only = +$("only").value, first = maskInSight();
  if (kind === "map") return heat(only);
  if (kind === "none" || !first) return null;
  return kind === "difference" ? disagreement(first) : colored(first, only);
}
function colored(mask, only) {
  const result = new ImageData(mask.width, mask.height), out = new Uint32Array(result.data.buffer);
  const palette = new Uint32Array(256);
  for (const label of [...now.run.classes.keys(), IGNORED]) {
    const [r, g, b] = colorOf(label);
    const isShown = label && (!only || label === only);
    if (isShown) palette[label] = (255 << 24 | b << 16 | g << 8 | r) >>> 0;
  }
  for (let i = 0; i < out.length; i++) out[i] = palette[mask.values[i]];
  return result;
}
function disagreement(first) {
  const { name, masks } = now.photo;
  const second = masks[rowInSight().masks.find(other => other !== name && masks[other])];
  if (!second) return null;
  const result = new ImageData(first.width, first.height);
  const out = new Uint32Array(result.data.buffer);
  for (let i = 0; i < out.length; i++)
    if (first.values[i] !== second.values[i]) out[i] = DISAGREEMENT;
  return result;
}
function heat(only) {
  const found = now.photo.maps[only];
  if (!found) return null;
  const result = new ImageData(found.width, found.height);
  for (let i = 0; i < found.values.length; i++) {
    const value = found.values[i], red = Math.min(255, value * 2);
    result.data.set([red, Math.max(0, value * 2 - 255), 255 - value, 255], 4 * i);
  }
  return result;
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
