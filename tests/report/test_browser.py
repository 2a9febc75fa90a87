"""Pages in a browser: images load, nothing is fetched, no horizontal scrolling."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ablation_scores import cam_and_seam
from blocks_page import page_of_all_blocks

from tag2mask.ablation.page import ablation_page
from tag2mask.report.page import render

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Added to a copy of the page only: stores measurements as attributes of the document.
PROBE = """<script>addEventListener("load", () => {
  const root = document.documentElement, images = [...document.images];
  const fetched = performance.getEntriesByType("resource").map(e => e.name)
    .filter(name => !name.startsWith("data:"));
  root.dataset.images = images.length;
  root.dataset.loaded = images.filter(i => i.complete && i.naturalWidth > 0).length;
  root.dataset.fetched = fetched.length;
  root.dataset.overflow = root.scrollWidth - root.clientWidth;
  root.dataset.plots = [...document.querySelectorAll("svg.plot")]
    .filter(s => s.getBoundingClientRect().height > 50).length;
  root.dataset.ground = getComputedStyle(document.body).backgroundColor;
});</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    """Path of a Chromium."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser found (one of {', '.join(BROWSERS)})")
    return found


def opened(browser: str, folder: Path, html: str, width: int, *options: str) -> dict[str, str]:
    """Open a page in a new browser and return the measurements of the probe by name."""
    path = folder / "index.html"
    path.write_text(html.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},900",
        "--enable-logging=stderr",
        *options,
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if "data-images" not in done.stdout:
        pytest.skip(f"the browser doesn't start here: {done.stderr.strip()[-300:]}")
    assert ":CONSOLE" not in done.stderr, done.stderr
    return dict(re.findall(r'data-(\w+)="([^"]*)"', done.stdout.split("<head>", 1)[0]))


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 500])
def test_page_in_a_browser(browser: str, tmp_path: Path, width: int) -> None:
    html = render(page_of_all_blocks())
    found = opened(browser, tmp_path, html, width)
    assert found["images"] == found["loaded"] == str(1 + 4 + 5 + 6 + 8 + 10)
    assert found["plots"] == "2"
    assert found["fetched"] == "0"
    assert int(found["overflow"]) <= 0, "the page can't be scrolled sideways"


@pytest.mark.slow
def test_page_of_an_ablation_in_a_browser(browser: str, tmp_path: Path) -> None:
    html = render(ablation_page(cam_and_seam(name="a long name " * 9)))
    found = opened(browser, tmp_path, html, 500)
    assert (found["plots"], found["fetched"]) == ("1", "0")
    assert int(found["overflow"]) <= 0, "the page can't be scrolled sideways"


@pytest.mark.slow
def test_page_follows_dark_mode(browser: str, tmp_path: Path) -> None:
    html = render(page_of_all_blocks())
    grounds = []
    for scheme in ("1", "0"):
        folder = tmp_path / scheme
        folder.mkdir()
        option = f"--blink-settings=preferredColorScheme={scheme}"
        ground = opened(browser, folder, html, 900, option)["ground"]
        grounds.append(sum(map(int, re.findall(r"\d+", ground)[:3])) / 3)
    assert grounds[0] > 200 and grounds[1] < 60
