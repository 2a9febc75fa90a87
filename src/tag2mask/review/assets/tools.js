// Tools that draw on the mask: brush, eraser, fill, superpixels; by pointer or by cursor.
import { canvas, draw, isWhole, moveBrush, movePhoto, pointOf, size, zoom } from "./canvas.js";
import { mayDraw } from "./decisions.js";
import { loadRegions } from "./network.js";
import { showPanel } from "./panel.js";
import { $, notice, now, report, tool } from "./state.js";

const UNDO_STROKES = 30, CURSOR_STEP = 40;

function begin() {
  const photo = now.photo;
  if (!photo.drawing) {
    const base = photo.masks[photo.name], { width, height } = base || photo.image;
    photo.drawing = { width, height,
      values: base ? base.values.slice() : new Uint8Array(width * height) };
  }
  photo.strokes.push(photo.drawing.values.slice());
  if (photo.strokes.length > UNDO_STROKES) {
    photo.strokes.shift();
    photo.forgotStrokes = true;
  }
  photo.dirty = true;
  $("layer").value = "mask";  // the view that shows strokes of every class
  $("only").value = "";
  return photo.drawing;
}
export function undoStroke() {
  const photo = now.photo;
  if (!photo.strokes.length) return notice("Strokes before these can't be undone.");
  photo.drawing.values = photo.strokes.pop();
  if (!photo.strokes.length && !photo.forgotStrokes) dropDrawing();
  notice("");
  showPanel();
  draw();
}
export function dropDrawing() {
  Object.assign(now.photo, { drawing: null, strokes: [], forgotStrokes: false, dirty: false });
}

function label() { return tool.name === "eraser" ? 0 : tool.label; }
function dab(target, x, y) {
  const radius = tool.size / 2, { width, height, values } = target;
  for (let row = Math.max(0, Math.ceil(y - radius)); row <= Math.min(height - 1, y + radius); row++)
    for (let column = Math.max(0, Math.ceil(x - radius));
      column <= Math.min(width - 1, x + radius); column++)
      if ((row - y) ** 2 + (column - x) ** 2 <= radius ** 2) values[row * width + column] = label();
  if (x >= 0 && y >= 0 && x < width && y < height)
    values[Math.floor(y) * width + Math.floor(x)] = label();
}
function line(target, from, to) {
  const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1])
    / Math.max(1, tool.size / 4)));
  for (let i = 0; i <= steps; i++)
    dab(target, from[0] + (to[0] - from[0]) * i / steps, from[1] + (to[1] - from[1]) * i / steps);
}
function fill(target, x, y) {
  const { width, values } = target, start = Math.floor(y) * width + Math.floor(x);
  const old = values[start], stack = [start];
  if (old === label()) return;
  values[start] = label();
  while (stack.length) {
    const i = stack.pop(), column = i % width;
    const left = column > 0 ? i - 1 : -1, right = column < width - 1 ? i + 1 : -1;
    for (const next of [left, right, i - width, i + width])
      if (next >= 0 && next < values.length && values[next] === old) {
        values[next] = label();
        stack.push(next);
      }
  }
}
async function superpixel(x, y) {
  const photo = now.photo, regions = await loadRegions(photo);
  if (photo !== now.photo || !regions || !mayDraw()) return;
  const target = begin();
  const { width, values } = regions, chosen = values[Math.floor(y) * width + Math.floor(x)];
  for (let i = 0; i < values.length; i++) if (values[i] === chosen) target.values[i] = label();
  showPanel();
  draw();
}
/** Uses the tool at a pixel; returns the drawing that a stroke goes on with, or null. */
function useTool(x, y) {
  const [width, height] = size();
  if (!now.photo?.image || x < 0 || y < 0 || x >= width || y >= height || !mayDraw()) return null;
  if (tool.name === "superpixel") {
    superpixel(x, y).catch(report);
    return null;
  }
  const target = begin();
  if (tool.name === "fill") fill(target, x, y); else dab(target, x, y);
  showPanel();
  draw();
  return tool.name === "fill" ? null : target;
}

export function resizeTool(to) {
  tool.size = Math.min(100, Math.max(1, to));
  $("size").value = tool.size;
  draw();
}
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
function middle() { return size().map(side => Math.floor(side / 2)); }
/** Moves the cursor, or the photo under it. */
export function moveCursor(key, movesPhoto) {
  const [width, height] = size(), by = Math.max(1, Math.round(tool.size / 2));
  const [dx, dy] = DIRECTIONS[key];
  if (movesPhoto) return movePhoto(-CURSOR_STEP * dx, -CURSOR_STEP * dy);
  const [x, y] = tool.cursor || middle();
  tool.cursor = [Math.min(width - 1, Math.max(0, x + by * dx)),
    Math.min(height - 1, Math.max(0, y + by * dy))];
  draw();
}
export function drawAtCursor() {
  tool.cursor ||= middle();
  if (tool.name !== "move") useTool(...tool.cursor);
}

let stroke = null;
const pointers = new Map();
canvas.onpointerdown = event => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, event);
  if (pointers.size > 1) {
    if (stroke?.target) undoStroke();  // two fingers zoom
    stroke = { pinch: true };
    return;
  }
  if (tool.name === "move" || event.button === 1) { stroke = { move: true }; return; }
  tool.cursor = null;
  const point = pointOf(event), target = useTool(...point);
  stroke = target && { target, last: point };
};
canvas.onpointermove = event => {
  moveBrush(event.pointerType === "touch" ? null : [event.clientX, event.clientY]);
  const before = pointers.get(event.pointerId);
  if (!before) return;
  pointers.set(event.pointerId, event);
  if (stroke?.pinch && pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const apart = one => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    const box = canvas.getBoundingClientRect();
    const x = (event.clientX + other.clientX) / 2, y = (event.clientY + other.clientY) / 2;
    zoom(apart(event) / Math.max(1, apart(before)), x - box.left, y - box.top);
  } else if (stroke?.move) {
    if (isWhole() && event.pointerType === "touch") return;  // that scrolls the page
    movePhoto(event.clientX - before.clientX, event.clientY - before.clientY);
  } else if (stroke?.target) {
    const point = pointOf(event);
    line(stroke.target, stroke.last, point);
    stroke.last = point;
    draw();
  }
};
canvas.onpointerup = canvas.onpointercancel = event => {
  pointers.delete(event.pointerId);
  if (stroke?.target) showPanel();
  if (!pointers.size) stroke = null;
};
canvas.onpointerleave = () => moveBrush(null);
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  const box = canvas.getBoundingClientRect();
  zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
