// The list of photos, with thumbnails once they come into sight.
import { thumbnailUrl } from "./network.js";
import { $, now } from "./state.js";

const seen = new IntersectionObserver(entries => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    const image = entry.target;
    seen.unobserve(image);
    image.src = thumbnailUrl(image.dataset.place);
  }
}, { rootMargin: "200px" });

let entries = new Map();

export function listPhotos() {
  const wanted = $("filter").value;
  now.shown = now.run.photos.map((_, place) => place).filter(place => {
    const own = now.run.photos[place];
    if (wanted === "all" || place === now.at) return true;
    if (wanted === "open") return !own.verdict;
    return wanted === "asked" ? own.asked : own.verdict === wanted;
  });
  entries = new Map(now.shown.map(place => [place, entryFor(place)]));
  $("queue").replaceChildren(...entries.values());
  now.shown.forEach(describe);
}
function entryFor(place) {
  const button = document.createElement("button"), image = document.createElement("img");
  button.type = "button";
  button.tabIndex = -1;
  button.dataset.place = image.dataset.place = place;
  image.alt = "";
  seen.observe(image);
  button.append(image, document.createElement("span"), document.createElement("span"));
  return button;
}

/** Shows what was decided about a photo, and whether it is the one in sight. */
export function describe(place) {
  const button = entries.get(place), own = now.run.photos[place];
  if (!button) return;
  const [name, verdict] = button.querySelectorAll("span");
  name.textContent = own.id;
  name.className = "more";
  verdict.textContent = own.verdict || (own.asked ? "asked for" : "–");
  verdict.className = own.verdict || "";
  button.setAttribute("aria-label", `${own.id}: ${own.verdict || "not decided"}`);
  if (place === now.at) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}
export function scrollTo(place) {
  entries.get(place)?.scrollIntoView({ block: "nearest", inline: "nearest" });
}
/** The place so many photos after the one in sight; undefined: there is none. */
export function placeAfter(by) { return now.shown[now.shown.indexOf(now.at) + by]; }

export function showProgress() {
  const done = now.run.photos.filter(own => own.verdict).length;
  $("progress").textContent = `${done} of ${now.run.photos.length} decided`;
}
