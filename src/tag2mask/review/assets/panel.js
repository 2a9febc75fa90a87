// The panel: verdicts, tags, choices of the view, tools and classes.
import { showProgress } from "./queue.js";
import { $, IGNORED, colorOf, now, rowInSight, tool } from "./state.js";

/** Builds what depends on the classes of the run. */
export function buildPanel() {
  $("run").textContent = now.run.name;
  document.title = `Review: ${now.run.name}`;
  const names = now.run.classes.slice(1);
  $("tags").replaceChildren(...names.map(name => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.tag = name;
    button.textContent = name;
    return button;
  }));
  $("only").replaceChildren(
    new Option("all", ""), ...names.map((name, tag) => new Option(name, tag + 1)));
  $("classes").replaceChildren(...[...now.run.classes.keys(), IGNORED].map(label => {
    const button = document.createElement("button"), swatch = document.createElement("i");
    button.type = "button";
    button.dataset.label = label;
    swatch.style.setProperty("background", `rgb(${colorOf(label).join(",")})`);
    button.append(swatch, label === IGNORED ? "ignored" : now.run.classes[label]);
    return button;
  }));
  showTools();
}

/** Shows what is decided and can be decided about the photo in sight. */
export function showPanel() {
  const own = rowInSight(), photo = now.photo;
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
  showProgress();
}

export function showTools() {
  for (const button of $("tools").children)
    button.setAttribute("aria-pressed", String(button.dataset.tool === tool.name));
  for (const button of $("classes").children)
    button.setAttribute("aria-pressed", String(+button.dataset.label === tool.label));
}
export function chooseTool(name) { tool.name = name; showTools(); }
export function chooseLabel(label) { tool.label = label; showTools(); }
