"use strict";
// Names of photos and classes reach the page as text only (textContent, Option, setAttribute).
const token = new URLSearchParams(location.search).get("token") || "";
const page = sessionStorage.page ||= Math.random().toString(36).slice(2);  // survives a reload
const $ = id => document.getElementById(id);
const canvas = $("canvas"), context = canvas.getContext("2d");
const IGNORED = 255, IGNORED_COLOR = [224, 224, 192], UNDO_STROKES = 30;
let state, shown = [], at = -1, photo = null, undone = [], waiting = null, later = null, loading = 0;
const view = { scale: 1, x: 0, y: 0 };
const tool = { name: "brush", label: 1, size: 12, cursor: null };

function url(path, values = {}) {
  return path + "?" + new URLSearchParams({ token, ...values });
}
async function call(path, values, options = {}) {
  const answer = await fetch(url(path, values), options);
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
function notice(text) { $("notice").textContent = text; $("notice").hidden = !text; }
function color(label) { return label === IGNORED ? IGNORED_COLOR : state.colors[label]; }
function css(rgb) { return `rgb(${rgb.join(",")})`; }

// The queue ------------------------------------------------------------------------------------
const seen = new IntersectionObserver(entries => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    const image = entry.target;
    seen.unobserve(image);
    image.src = url(`/api/photos/${image.dataset.place}/thumbnail`);
  }
}, { rootMargin: "200px" });

function listPhotos() {
  const wanted = $("filter").value;
  shown = state.photos.map((_, place) => place).filter(place => {
    const own = state.photos[place];
    if (wanted === "all" || place === at) return true;
    if (wanted === "open") return !own.verdict;
    return wanted === "asked" ? own.asked : own.verdict === wanted;
  });
  $("queue").replaceChildren(...shown.map(place => {
    const button = document.createElement("button"), image = document.createElement("img");
    button.type = "button";
    button.tabIndex = -1;
    button.dataset.place = image.dataset.place = place;
    image.alt = "";
    seen.observe(image);
    button.append(image, document.createElement("span"), document.createElement("span"));
    button.onclick = () => open(place);
    return button;
  }));
  shown.forEach(describe);
}
function entryOf(place) { return $("queue").querySelector(`[data-place="${place}"]`); }
function describe(place) {
  const button = entryOf(place), own = state.photos[place];
  if (!button) return;
  const [name, verdict] = button.querySelectorAll("span");
  name.textContent = own.id;
  name.className = "more";
  verdict.textContent = own.verdict || (own.asked ? "asked for" : "–");
  verdict.className = own.verdict || "";
  button.setAttribute("aria-label", `${own.id}: ${own.verdict || "not decided"}`);
  if (place === at) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}
function progress() {
  const done = state.photos.filter(own => own.verdict).length;
  $("progress").textContent = `${done} of ${state.photos.length} decided`;
}

// One photo ------------------------------------------------------------------------------------
async function open(place, { keep = false } = {}) {
  if (waiting) return notice("The last decision isn't saved yet; press z to drop it.");
  if (photo && photo.dirty && !keep
      && !confirm("The drawing isn't saved. Leave it?")) return;
  const before = at, mine = ++loading;
  at = place;
  const own = state.photos[place];
  photo = { place, masks: {}, name: own.masks[0] || "", drawing: null, strokes: [], dirty: false,
    tags: new Set(own.tags), image: null, maps: {}, regions: null };
  describe(before); describe(place);
  entryOf(place)?.scrollIntoView({ block: "nearest", inline: "nearest" });
  $("caption").textContent = [own.id, own.split].filter(Boolean).join(" · ");
  $("problem").hidden = true;
  showPanel();
  tool.cursor = null;
  try {
    const [image] = await Promise.all([picture(place), loadMask(photo, photo.name)]);
    if (mine !== loading) return;
    photo.image = image;
    wholePhoto();
    const next = shown[shown.indexOf(place) + 1];
    if (next !== undefined) picture(next).catch(() => {});
  } catch (error) {
    if (mine !== loading) return;
    $("problem").textContent = error.message;
    $("problem").hidden = false;
  }
  draw();
}
const pictures = new Map();
function picture(place) {
  if (!pictures.has(place)) {
    const made = call(`/api/photos/${place}/photo`).then(answer => answer.blob())
      .then(createImageBitmap);
    made.catch(() => pictures.delete(place));
    pictures.set(place, made);
    if (pictures.size > 4) pictures.delete(pictures.keys().next().value);
  }
  return pictures.get(place);
}
async function loadMask(of, name) {
  if (name && !(name in of.masks))
    of.masks[name] = await pixels(`/api/photos/${of.place}/mask`, { name });
  return of.masks[name];
}
function mask() { return photo.drawing || photo.masks[photo.name] || null; }

function showPanel() {
  const own = state.photos[at];
  for (const button of $("verdicts").children) {
    const verdict = button.dataset.verdict;
    button.setAttribute("aria-pressed", String(own.verdict === verdict));
    if (verdict === "corrected") button.disabled = !photo.dirty;
    if (verdict === "good") button.disabled = !own.masks.length || photo.dirty;
  }
  $("masks").replaceChildren(...own.masks.map(name => new Option(name, name)));
  $("masks").value = photo.name;
  for (const button of $("tags").children)
    button.setAttribute("aria-pressed", String(photo.tags.has(button.dataset.tag)));
  progress();
}
function showTools() {
  for (const button of $("tools").children)
    button.setAttribute("aria-pressed", String(button.dataset.tool === tool.name));
  for (const button of $("classes").children)
    button.setAttribute("aria-pressed", String(+button.dataset.label === tool.label));
}
function build() {
  $("run").textContent = state.name;
  document.title = `Review: ${state.name}`;
  const names = state.classes.slice(1);
  $("tags").replaceChildren(...names.map(name => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.tag = name;
    button.textContent = name;
    button.onclick = () => toggleTag(name);
    return button;
  }));
  $("only").replaceChildren(new Option("all", ""), ...names.map((name, i) => new Option(name, i + 1)));
  $("classes").replaceChildren(...[...state.classes.keys(), IGNORED].map(label => {
    const button = document.createElement("button"), swatch = document.createElement("i");
    button.type = "button";
    button.dataset.label = label;
    swatch.style.setProperty("background", css(color(label)));
    button.append(swatch, label === IGNORED ? "ignored" : state.classes[label]);
    button.onclick = () => { tool.label = label; showTools(); };
    return button;
  }));
  showTools();
}

// Drawing the canvas ---------------------------------------------------------------------------
function size() {
  const found = mask() || photo?.image;
  return found ? [found.width, found.height] : [1, 1];
}
function wholePhoto() {
  const [width, height] = size(), box = canvas.getBoundingClientRect();
  view.scale = Math.min(box.width / width, box.height / height) || 1;
  view.x = (box.width - width * view.scale) / 2;
  view.y = (box.height - height * view.scale) / 2;
  draw();
}
function zoom(factor, x, y) {
  const box = canvas.getBoundingClientRect();
  x ??= box.width / 2; y ??= box.height / 2;
  const scale = Math.min(40, Math.max(.05, view.scale * factor));
  view.x = x - (x - view.x) * scale / view.scale;
  view.y = y - (y - view.y) * scale / view.scale;
  view.scale = scale;
  draw();
}
let drawn = false;
function draw() {
  if (!drawn) requestAnimationFrame(() => { drawn = false; paint(); });
  drawn = true;
}
const layer = document.createElement("canvas"), layerContext = layer.getContext("2d");
function paint() {
  const box = canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1;
  canvas.width = Math.round(box.width * ratio);
  canvas.height = Math.round(box.height * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  if (!photo?.image) return;
  const [width, height] = size();
  const place = [view.x, view.y, width * view.scale, height * view.scale];
  context.imageSmoothingEnabled = view.scale < 2;
  context.drawImage(photo.image, ...place);
  const values = overlay(width, height);
  if (values) {
    layer.width = values.width; layer.height = values.height;
    layerContext.putImageData(values, 0, 0);
    context.globalAlpha = $("opacity").value / 100;
    context.imageSmoothingEnabled = $("layer").value === "map";
    context.drawImage(layer, ...place);
    context.globalAlpha = 1;
  }
  if (tool.cursor) {
    const [x, y] = tool.cursor, radius = Math.max(2, tool.size * view.scale / 2);
    context.lineWidth = 3; context.strokeStyle = "#000";
    for (const style of ["#000", "#fff"]) {
      context.strokeStyle = style;
      context.beginPath();
      context.arc(view.x + (x + .5) * view.scale, view.y + (y + .5) * view.scale, radius, 0, 7);
      context.stroke();
      context.lineWidth = 1;
    }
  }
}
function overlay(width, height) {
  const kind = $("layer").value, only = +$("only").value;
  if (kind === "map") return heat(only);
  const first = mask();
  if (kind === "none" || !first) return null;
  const result = new ImageData(first.width, first.height), out = new Uint32Array(result.data.buffer);
  if (kind === "difference") {
    const others = state.photos[at].masks.filter(name => name !== photo.name && photo.masks[name]);
    const second = others.length ? photo.masks[others[0]] : null;
    if (!second) return null;
    for (let i = 0; i < out.length; i++)
      if (first.values[i] !== second.values[i]) out[i] = 0xff00a5ff;
    return result;
  }
  const palette = new Uint32Array(256);
  for (const label of [...state.classes.keys(), IGNORED]) {
    const [r, g, b] = color(label);
    if (label && (!only || label === only)) palette[label] = (255 << 24 | b << 16 | g << 8 | r) >>> 0;
  }
  for (let i = 0; i < out.length; i++) out[i] = palette[first.values[i]];
  return result;
}
function heat(only) {
  const found = photo.maps[only];
  if (!found) return null;
  const result = new ImageData(found.width, found.height);
  for (let i = 0; i < found.values.length; i++) {
    const value = found.values[i];
    result.data.set([Math.min(255, value * 2), Math.max(0, value * 2 - 255), 255 - value, 255], 4 * i);
  }
  return result;
}
async function changeView() {
  const kind = $("layer").value, only = +$("only").value, of = photo;
  if (kind === "map" && !(only in of.maps))
    of.maps[only] = await pixels(`/api/photos/${of.place}/map`,
      only ? { class: state.classes[only] } : {});
  if (kind === "difference")
    await Promise.all(state.photos[at].masks.map(name => loadMask(of, name)));
  if (kind !== "mask") loadMask(of, of.name);
  draw();
}

// Drawing the mask -----------------------------------------------------------------------------
function begin() {
  if (!photo.image) return null;
  if (!photo.drawing) {
    const base = photo.masks[photo.name];
    const [width, height] = base ? [base.width, base.height] : [photo.image.width, photo.image.height];
    photo.drawing = { width, height,
      values: base ? base.values.slice() : new Uint8Array(width * height) };
  }
  photo.strokes.push(photo.drawing.values.slice());
  if (photo.strokes.length > UNDO_STROKES) photo.strokes.shift();
  photo.dirty = true;
  showPanel();
  return photo.drawing;
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
  const { width, height, values } = target, start = Math.floor(y) * width + Math.floor(x);
  const old = values[start], now = label(), stack = [start];
  if (old === now) return;
  values[start] = now;
  while (stack.length) {
    const i = stack.pop(), column = i % width;
    for (const next of [column && i - 1, column < width - 1 && i + 1, i - width, i + width])
      if (next !== false && next >= 0 && next < width * height && values[next] === old
          && (next !== 0 || i === 1 || i === width)) {
        values[next] = now;
        stack.push(next);
      }
  }
}
async function superpixel(x, y) {
  const of = photo;
  of.regions ??= pixels(`/api/photos/${of.place}/superpixels`, {}, Uint16Array);
  const regions = await of.regions;
  if (of !== photo || !regions) return;
  const target = begin();
  const { width, values } = regions, chosen = values[Math.floor(y) * width + Math.floor(x)];
  for (let i = 0; i < values.length; i++) if (values[i] === chosen) target.values[i] = label();
  draw();
}
function inside(x, y) {
  const [width, height] = size();
  return x >= 0 && y >= 0 && x < width && y < height;
}
function useTool(x, y) {
  if (!photo?.image || !inside(x, y)) return null;
  if (tool.name === "superpixel") { superpixel(x, y).catch(error => notice(error.message)); return null; }
  const target = begin();
  if (tool.name === "fill") fill(target, x, y); else dab(target, x, y);
  draw();
  return target;
}
function pointOf(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left - view.x) / view.scale,
    (event.clientY - box.top - view.y) / view.scale];
}
let stroke = null;
const pointers = new Map();
canvas.onpointerdown = event => {
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, event);
  if (pointers.size > 1) { if (stroke?.target) undoStroke(); stroke = { pinch: true }; return; }
  const point = pointOf(event);
  if (tool.name === "move" || event.button === 1) { stroke = { move: event }; return; }
  tool.cursor = null;
  const target = useTool(...point);
  stroke = target && tool.name !== "fill" ? { target, last: point } : null;
};
canvas.onpointermove = event => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  pointers.set(event.pointerId, event);
  if (stroke?.pinch && pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const apart = one => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
    const box = canvas.getBoundingClientRect();
    zoom(apart(event) / Math.max(1, apart(before)),
      (event.clientX + other.clientX) / 2 - box.left, (event.clientY + other.clientY) / 2 - box.top);
  } else if (stroke?.move) {
    view.x += event.clientX - before.clientX;
    view.y += event.clientY - before.clientY;
    draw();
  } else if (stroke?.target) {
    const point = pointOf(event);
    line(stroke.target, stroke.last, point);
    stroke.last = point;
    draw();
  }
};
canvas.onpointerup = canvas.onpointercancel = event => {
  pointers.delete(event.pointerId);
  if (!pointers.size) stroke = null;
};
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  const box = canvas.getBoundingClientRect();
  zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
function undoStroke() {
  photo.drawing.values = photo.strokes.pop();
  if (!photo.strokes.length) { photo.drawing = null; photo.dirty = false; }
  showPanel();
  draw();
}

// Decisions ------------------------------------------------------------------------------------
function bodyOf(values, drawing) {
  if (drawing) values.size = [drawing.height, drawing.width];
  const head = new TextEncoder().encode(JSON.stringify(values) + "\n");
  return new Blob(drawing ? [head, drawing.values] : [head]);
}
async function send(place, action, values, drawing) {
  const own = state.photos[place];
  const body = bodyOf({ ...values, version: own.version, generation: state.generation }, drawing);
  const answer = await call(`/api/photos/${place}/${action}`, {}, { method: "POST", body });
  state.photos[place] = await answer.json();
  describe(place);
  progress();
}
async function decide(verdict, { tagsOnly = false } = {}) {
  if (!photo) return;
  if (waiting) {  // a verdict that waits sends the tags as well
    if (!tagsOnly || !later) later = { place: photo.place, verdict, tagsOnly };
    return;
  }
  const drawing = verdict === "corrected" && !tagsOnly ? photo.drawing : null;
  waiting = { place: photo.place, tags: [...photo.tags], name: photo.name, verdict, drawing, tagsOnly };
  await sendWaiting();
}
async function sendWaiting() {
  const sent = waiting, { place, verdict, tags, name, drawing, tagsOnly } = sent;
  sent.failed = false;
  try {
    await send(place, "decision", { verdict, tags, mask: name, tags_only: tagsOnly }, drawing);
  } catch (error) {
    if (error.status === 409) {
      waiting = later = null;
      notice(error.message);
      return reload(place);
    }
    notice(`Not saved: ${error.message}. The decision is kept here; it is tried again every few `
      + "seconds.");
    sent.failed = true;
    setTimeout(() => { if (waiting === sent) sendWaiting(); }, 3000);
    return;
  }
  const following = later;
  waiting = later = null;
  notice("");
  undone.push(place);
  if (photo.place !== place) return;
  if (!tagsOnly) { photo.dirty = false; photo.drawing = null; photo.strokes = []; }
  if (following?.place === place && (tagsOnly || following.tagsOnly))
    return decide(following.tagsOnly ? state.photos[place].verdict : following.verdict, following);
  if (tagsOnly) return showPanel();
  const next = shown[shown.indexOf(place) + 1];
  if (next !== undefined) return open(next);
  await open(place);
  notice("This was the last photo.");
}
async function undo() {
  if (waiting) {
    if (!waiting.failed) return;
    waiting = later = null;
    photo.tags = new Set(state.photos[at].tags);
    notice("Dropped.");
    return showPanel();
  }
  if (photo?.strokes.length) return undoStroke();
  const place = undone.pop();
  if (place === undefined) return notice("Nothing to undo.");
  try {
    await send(place, "undo", {});
    notice("");
    if (photo) photo.dirty = false;
    await open(place, { keep: true });
  } catch (error) {
    notice(`Not undone: ${error.message}`);
    if (error.status === 409) await reload(place); else undone.push(place);
  }
}
function toggleTag(name) {
  if (photo.tags.has(name)) photo.tags.delete(name); else photo.tags.add(name);
  showPanel();
  decide(state.photos[at].verdict, { tagsOnly: true });
}
async function reload(place) {
  const id = state.photos[place].id, kept = photo?.place === place && photo.dirty ? photo : null;
  try {
    state = await (await call("/api/state")).json();
  } catch (error) {
    return notice(`${$("notice").textContent} ${error.message}`);
  }
  const found = state.photos.findIndex(own => own.id === id);
  undone = [];
  at = -1;  // places are new
  pictures.clear();
  listPhotos();
  await open(Math.max(0, found), { keep: true });
  if (!kept || found < 0 || at !== found) return;
  const { drawing, strokes } = kept;  // on the same photo: it can still be saved
  Object.assign(photo, { drawing, strokes, dirty: true });
  showPanel();
  draw();
}

// Keys and buttons -----------------------------------------------------------------------------
function step(by) {
  const next = shown[shown.indexOf(at) + by];
  if (next !== undefined) open(next);
}
function cycle(select) {
  select.selectedIndex = (select.selectedIndex + 1) % select.options.length;
  select.dispatchEvent(new Event("change"));
}
function moveCursor(key, shift) {
  const [width, height] = size(), by = Math.max(1, Math.round(tool.size / 2));
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  if (shift) { view.x -= 40 * dx; view.y -= 40 * dy; return draw(); }
  const [x, y] = tool.cursor || [Math.floor(width / 2), Math.floor(height / 2)];
  tool.cursor = [Math.min(width - 1, Math.max(0, x + by * dx)), Math.min(height - 1, Math.max(0, y + by * dy))];
  draw();
}
const keys = {
  g: () => decideFrom("good"), b: () => decide("bad"), u: () => decide("unsure"),
  s: () => decideFrom("corrected"), Enter: () => decideFrom("corrected"), z: undo,
  n: () => step(1), p: () => step(-1), ArrowRight: () => step(1), ArrowLeft: () => step(-1),
  d: () => chooseTool("brush"), e: () => chooseTool("eraser"), f: () => chooseTool("fill"),
  x: () => chooseTool("superpixel"), "[": () => resize(-2), "]": () => resize(2),
  v: () => cycle($("layer")), m: () => cycle($("masks")), c: () => cycle($("only")),
  o: () => { $("opacity").value = (+$("opacity").value + 25) % 125; draw(); },
  "+": () => zoom(1.25), "-": () => zoom(.8), r: wholePhoto, h: () => $("help-button").click(),
  i: () => { tool.label = IGNORED; showTools(); },
};
function decideFrom(verdict) {
  const button = $("verdicts").querySelector(`[data-verdict=${verdict}]`);
  if (!button.disabled) decide(verdict);
}
function chooseTool(name) { tool.name = name; showTools(); }
function resize(by) { tool.size = Math.min(100, Math.max(1, tool.size + by)); $("size").value = tool.size; draw(); }
document.onkeydown = event => {
  if (!photo || event.ctrlKey || event.metaKey || event.altKey) {
    if (photo && event.key === "z" && (event.ctrlKey || event.metaKey)) { undo(); event.preventDefault(); }
    return;
  }
  const target = event.target, onCanvas = target === canvas;
  if (target instanceof HTMLSelectElement || target instanceof HTMLInputElement) return;
  if (event.key === "Enter" && target instanceof HTMLButtonElement) return;
  if (onCanvas && event.key.startsWith("Arrow")) { moveCursor(event.key, event.shiftKey); event.preventDefault(); return; }
  if (onCanvas && event.key === " ") {
    tool.cursor ||= size().map(side => Math.floor(side / 2));
    if (tool.name !== "move") useTool(...tool.cursor);
    event.preventDefault();
    return;
  }
  const digit = /^Digit(\d)$/.exec(event.code);
  if (digit && event.shiftKey) {
    const name = state.classes[+digit[1]];
    if (+digit[1] && name) toggleTag(name);
    event.preventDefault();
  } else if (digit) {
    if (+digit[1] < state.classes.length) { tool.label = +digit[1]; showTools(); }
  } else if (keys[event.key]) {
    keys[event.key]();
    event.preventDefault();
  }
};
for (const button of $("verdicts").children)
  button.onclick = () => decide(button.dataset.verdict);
for (const button of $("tools").children)
  button.onclick = () => chooseTool(button.dataset.tool);
$("previous").onclick = () => step(-1);
$("next").onclick = () => step(1);
$("undo").onclick = undo;
$("closer").onclick = () => zoom(1.25);
$("farther").onclick = () => zoom(.8);
$("whole").onclick = wholePhoto;
$("size").oninput = () => { tool.size = +$("size").value; draw(); };
$("opacity").oninput = draw;
$("layer").onchange = $("only").onchange = () => changeView().catch(error => notice(error.message));
$("masks").onchange = async () => {
  if (photo.dirty && !confirm("The drawing isn't saved. Leave it?")) { $("masks").value = photo.name; return; }
  photo.name = $("masks").value;
  photo.drawing = null; photo.strokes = []; photo.dirty = false;
  showPanel();
  await loadMask(photo, photo.name).catch(error => notice(error.message));
  draw();
};
$("filter").onchange = listPhotos;
$("help-button").onclick = () => {
  $("help").hidden = !$("help").hidden;
  $("help-button").setAttribute("aria-expanded", String(!$("help").hidden));
};
addEventListener("resize", () => photo?.image && wholePhoto());
addEventListener("beforeunload", event => { if (waiting || photo?.dirty) event.preventDefault(); });

const TWO_PAGES = "This run is open in another page too.";
let others = false;
async function alive() {
  try {
    const found = await (await call("/api/alive", { page })).json();
    if (found.changed || found.generation !== state.generation)
      notice("The run has changed: reload the page to go on.");
    else if (found.pages > 1 && !others) notice(TWO_PAGES);
    else if (found.pages === 1 && $("notice").textContent === TWO_PAGES) notice("");
    others = found.pages > 1;
    if ($("notice").textContent.startsWith("The page's server")) notice("");
  } catch {
    notice("The page's server doesn't answer. Start `tag2mask review` again and reload the page.");
  }
}
async function start() {
  state = await (await call("/api/state")).json();
  build();
  const first = state.photos.findIndex(own => !own.verdict);
  at = -1;
  listPhotos();
  await open(Math.max(0, first));
  document.body.dataset.ready = "true";
  setInterval(alive, 4000);
  alive();
}
start().catch(error => notice(error.message));
