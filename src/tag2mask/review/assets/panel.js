// The panel: verdicts, tags, choices of the view, tools and classes.
import { draw } from "./canvas.js";
import { showProgress } from "./queue.js";
import { $, IGNORED, colorOf, now, rowInSight, tool } from "./state.js";

const DIGITS = 9;

export function showRun() {
  $("run").textContent = now.run.name;
  document.title = `Review: ${now.run.name}`;
}
/** The classes in their order for a photo: first its tags, then the others. */
export function labelsFor(tags) {
  const labels = [...now.run.classes.keys()].slice(1), own = new Set(tags);
  const isOwn = label => own.has(now.run.classes[label]);
  return [...labels.filter(isOwn), ...labels.filter(label => !isOwn(label))];
}
/** Builds the buttons and choices of classes in the order for the photo in sight. */
export function showClasses() {
  const { labels } = now.photo, { classes } = now.run, only = $("only").value;
  const keyOf = label => labels.indexOf(label) < DIGITS ? labels.indexOf(label) + 1 : "";
  $("tags").replaceChildren(...labels.map(label => {
    const button = buttonWith(keyOf(label), classes[label], "Shift+");
    button.dataset.tag = classes[label];
    return button;
  }));
  $("only").replaceChildren(
    new Option("all", ""), ...labels.map(label => new Option(classes[label], label)));
  $("only").value = only;
  const keys = new Map([[0, 0], ...labels.map(label => [label, keyOf(label)]), [IGNORED, "i"]]);
  $("classes").replaceChildren(...[...keys].map(([label, key]) => {
    const button = buttonWith(key, label === IGNORED ? "ignored" : classes[label]);
    const swatch = document.createElement("i");
    button.dataset.label = label;
    swatch.style.setProperty("background", `rgb(${colorOf(label).join(",")})`);
    button.prepend(swatch);
    return button;
  }));
  showTools();
}
function buttonWith(key, name, modifier = "") {
  const button = document.createElement("button"), shown = document.createElement("kbd");
  button.type = "button";
  shown.textContent = key;
  shown.setAttribute("aria-hidden", "true");
  if (key !== "") button.setAttribute("aria-keyshortcuts", modifier + key);
  button.append(...key === "" ? [] : [shown], name);
  return button;
}

/** The classes of the drawing that aren't tags of the photo: saving it adds them. */
export function drawnTags() {
  const { drawing, tags } = now.photo, { classes } = now.run;
  const isDrawn = new Uint8Array(256);
  for (const label of drawing?.values ?? []) isDrawn[label] = 1;
  return classes.filter((name, label) => label && isDrawn[label] && !tags.has(name));
}
/** Shows what is decided and can be decided about the photo in sight. */
export function showPanel() {
  const own = rowInSight(), photo = now.photo;
  for (const button of $("verdicts").querySelectorAll("button")) {
    const verdict = button.dataset.verdict;
    button.setAttribute("aria-pressed", String(own.verdict === verdict));
    if (verdict === "corrected") button.disabled = !photo.dirty;
    if (verdict === "good") button.disabled = !own.masks.length || photo.dirty;
  }
  const added = drawnTags();
  $("new-tags").textContent = `Saving adds to the tags: ${added.join(", ")}`;
  $("new-tags").hidden = !added.length;
  $("masks").replaceChildren(...own.masks.map(name => new Option(name, name)));
  $("masks").value = photo.name;
  for (const button of $("tags").children)
    button.setAttribute("aria-pressed", String(photo.tags.has(button.dataset.tag)));
  showProgress();
}

export function showTools() {
  for (const button of $("tools").children)
    button.setAttribute("aria-pressed", String(button.dataset.tool === tool.name));
  for (const button of $("classes").children)
    button.setAttribute("aria-pressed", String(+button.dataset.label === tool.label));
}
export function chooseTool(name) { tool.name = name; showTools(); draw(); }
export function chooseLabel(label) { tool.label = label; showTools(); }
/** Chooses the class so many after the chosen one, around the end. */
export function stepLabel(by) {
  const order = [0, ...now.photo.labels, IGNORED];
  chooseLabel(order[(order.indexOf(tool.label) + by + order.length) % order.length]);
  $("classes").querySelector("[aria-pressed=true]").scrollIntoView({ block: "nearest" });
}
