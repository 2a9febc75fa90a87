// The review page: starts it, and asks its server every few seconds whether all is as it was.
import { isWaiting } from "./decisions.js";
import "./keys.js";
import { isAlive, loadRun } from "./network.js";
import { showRun } from "./panel.js";
import { openPhoto } from "./photo.js";
import { listPhotos } from "./queue.js";
import { $, notice, now, report, sentence } from "./state.js";

const ASK_MS = 4000, TWO_PAGES = "This run is open in another page too.";
const CHANGED = "The run has changed: reload the page to go on.";

let otherPages = false, problem = "";
async function watch() {
  try {
    const found = await isAlive(), shown = $("notice").textContent;
    if (found.changed || found.generation !== now.run.generation) notice(CHANGED);
    else if (found.pages > 1 && !otherPages) notice(TWO_PAGES);
    else if ([problem, CHANGED].includes(shown)) notice("");
    else if (found.pages === 1 && shown === TWO_PAGES) notice("");
    otherPages = found.pages > 1;
  } catch (error) {
    problem = sentence(error.message);
    if (!isWaiting()) notice(problem);  // a decision that waits says so itself
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
start().catch(report);
