"""The page of a run in Chromium, served by a process of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from small_runs import command, environment
from tag2mask.data.corrections.folder import Corrections, read_corrections


class Served:
    """A run with its page's server in a process of its own."""

    def __init__(self, run: Path, *options: str) -> None:
        self.run = run
        self.process = subprocess.Popen(
            [*command("review", run, "--no-browser", *(options or ("--port", "0")))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), self.process.communicate()

    @property
    def corrections(self) -> Corrections:
        return read_corrections(self.run / "corrections")

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


def opened(browser: Any, address: str, width: int = 1440, height: int = 900) -> Any:
    """Open the page; `close` fails where its script had an error."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(20_000)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(address)
    wait_until_ready(page)
    return page


def wait_until_ready(page: Any) -> None:
    """Wait until a page that was opened, or loaded again, shows its first photo."""
    page.wait_for_selector("body[data-ready]")


def close(page: Any) -> None:
    assert page.errors == []
    page.close()


def photo_of(page: Any) -> str:
    return str(page.text_content("#caption")).partition(" · ")[0]


def loaded_photo(page: Any) -> str:
    """Wait until the photo can be drawn on; return its id."""
    settle(page)
    return photo_of(page)


def wait_for_photo(page: Any, photo: str) -> None:
    """Wait until a photo is the one in sight; it may still be loading."""
    page.wait_for_function(
        "name => document.querySelector('#caption').textContent.startsWith(name + ' ')", arg=photo
    )


def wait_until_left(page: Any, photo: str) -> None:
    """Wait until another photo is in sight."""
    page.wait_for_function(
        "name => !document.querySelector('#caption').textContent.startsWith(name + ' ')", arg=photo
    )


def wait_for_notice(page: Any, text: str) -> None:
    """Wait until a notice can be read, also on a page that is still loading."""
    page.locator("#notice", has_text=text).wait_for()


def settle(page: Any) -> None:
    """Wait until the photo is loaded and every decision is written."""
    page.wait_for_selector("#stage[aria-busy=false]")


def press_and_wait(page: Any, key: str) -> str:
    """Press a key that decides; return the photo that was decided."""
    photo = photo_of(page)
    page.keyboard.press(key)
    wait_until_left(page, photo)
    return photo


def canvas(page: Any) -> bytes:
    """Return a picture of the canvas once what was asked for is painted."""
    settle(page)
    frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    page.evaluate(frame)
    return bytes(page.locator("#canvas").screenshot())


def is_pressed(page: Any, tag: str) -> bool:
    return page.get_attribute(f"#tags [data-tag={tag}]", "aria-pressed") == "true"


def digit_of(page: Any, label: int) -> str:
    """Return the digit that chooses a class on the photo in sight."""
    return str(page.text_content(f"#classes [data-label='{label}'] kbd"))
