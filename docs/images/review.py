"""Make ``review.png``, the page of a run of ``make demo``: ``python docs/images/review.py RUN``.

It shows the photo that is asked for first. Decisions of the run stay as they are.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1280, 720


def save_page(address: str, picture: Path) -> None:
    """Save a picture of the page once its photo and its thumbnails are loaded."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        page.wait_for_selector("#stage[aria-busy=false]")
        page.wait_for_load_state("networkidle")
        shot = page.screenshot()
        browser.close()
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(192).save(picture, optimize=True)


if __name__ == "__main__":
    run = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        corrections = Path(folder) / "corrections"
        command = [sys.executable, "-m", "tag2mask"]
        place = [str(run), "--corrections", str(corrections)]
        subprocess.run([*command, "ask", *place, "--count", "20"], check=True)
        server = subprocess.Popen(
            [*command, "review", *place, "--no-browser", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        try:
            save_page(server.stdout.readline().strip(), Path(__file__).with_suffix(".png"))
        finally:
            server.terminate()
            server.wait()
