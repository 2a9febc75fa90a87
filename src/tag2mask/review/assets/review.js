// The review page: starts it, and asks its server every few seconds whether all is as it was.
import "./keys.js";
import { isAlive, loadRun } from "./network.js";
import { showRun } from "./panel.js";
import { openPhoto } from "./photo.js";
import { listPhotos } from "./queue.js";
import { $, notice, now } from "./state.js";

const ASK_MS = 4000, TWO_PAGES = "This run is open in another page too.";
const NO_SERVER = "The page's server doesn't answer. Start `tag2mask review` again and reload "
  + "the page.";
const CHANGED = "The run has changed: reload the page to go on.";

let otherPages = false;
async function watch() {
  try {
    const found = await isAlive(), shown = $("notice").textContent;
    if (found.changed || found.generation !== now.run.generation) notice(CHANGED);
    else if (found.pages > 1 && !otherPages) notice(TWO_PAGES);
    else if ([NO_SERVER, CHANGED].includes(shown)) notice("");
    else if (found.pages === 1 && shown === TWO_PAGES) notice("");
    otherPages = found.pages > 1;
  } catch {
    notice(NO_SERVER);
  }
}
async function start() {
  now.run = await loadRun();
  showRun();
  listPhotos();
  const first = now.run.photos.findIndex(own => !own.verdict);
  await openPhoto(Math.max(0, first));
  document.body.dataset.ready = "true";
  setInterval(watch, ASK_MS);
  watch();
}
start().catch(error => notice(error.message));
