// What is painted over the photo: the mask and its contours, maps, or where two masks disagree.
import { $, IGNORED, colorOf, maskInSight, now, rowInSight } from "./state.js";

const DISAGREEMENT = 0xff00a5ff;  // orange, as the bytes of a pixel are stored

/** The pixels to paint over the photo; null: none. */
export function overlay() {
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

/** The edges between the classes of a mask, as lines in its pixels; only: of this class alone. */
export function contours({ width, height, values }, only) {
  const path = new Path2D(), at = i => only && values[i] !== only ? 0 : values[i];
  const starts = new Int32Array(width).fill(-1);  // first row of the edge left of each column
  for (let row = 0; row <= height; row++) {
    let first = -1;  // first column of the edge above this row
    for (let column = 0; column <= width; column++) {
      const i = row * width + column, isInside = row < height && column < width;
      const isEdgeAbove = isInside && row > 0 && at(i) !== at(i - width);
      if (isEdgeAbove && first < 0) first = column;
      if (!isEdgeAbove && first >= 0) {
        path.moveTo(first, row);
        path.lineTo(column, row);
        first = -1;
      }
      const isEdgeLeft = isInside && column > 0 && at(i) !== at(i - 1);
      if (isEdgeLeft && starts[column] < 0) starts[column] = row;
      if (!isEdgeLeft && starts[column] >= 0) {
        path.moveTo(column, starts[column]);
        path.lineTo(column, row);
        starts[column] = -1;
      }
    }
  }
  return path;
}
