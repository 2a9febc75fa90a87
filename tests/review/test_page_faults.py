"""The page in Chromium while something goes wrong: other pages, changed runs, full disks, names."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from reviewed_run import CLASSES, reviewed_run
from served_page import (
    Served,
    close,
    digit_of,
    is_pressed,
    loaded_photo,
    opened,
    photo_of,
    press_and_wait,
    settle,
    wait_for_notice,
    wait_until_left,
    wait_until_ready,
)

from tag2mask.data.masks import read_mask


def test_decisions_made_while_another_one_is_written_count(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    first = loaded_photo(page)
    had = {name for name in CLASSES.names if is_pressed(page, name)}
    page.route("**/decision?*", lambda route: (page.wait_for_timeout(300), route.continue_()))
    for key in ("Shift+Digit1", "Shift+Digit2", "Shift+Digit3", "b"):
        page.keyboard.press(key)
    settle(page)
    own = served.corrections.decisions[first]
    assert own.verdict == "bad"
    assert set(own.tags_removed) == had and set(own.tags_added) == {*CLASSES.names} - had
    page.unroute("**/decision?*")
    close(page)


def test_a_drawing_is_kept_where_the_run_changes_meanwhile(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    page.focus("#canvas")
    for key in (digit_of(page, 2), "Space"):
        page.keyboard.press(key)
    manifest = served.run / "pseudo-masks" / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    page.keyboard.press("s")
    settle(page)
    assert "changed" in page.text_content("#notice")
    assert page.is_enabled("#verdicts [data-verdict=corrected]")  # the drawing is still there
    assert not served.corrections.decisions and photo_of(page) == photo
    press_and_wait(page, "s")
    assert served.corrections.decisions[photo].verdict == "corrected"
    drawn = read_mask(served.corrections.mask_file(photo), len(CLASSES))
    height, width = drawn.shape
    assert drawn[height // 2, width // 2] == 2
    close(page)


def test_a_second_page_and_a_changed_run_are_noticed(browser: Any, served: Served) -> None:
    first, second = opened(browser, served.address), opened(browser, served.address)
    wait_for_notice(second, "another")
    assert photo_of(first) == photo_of(second)
    decided = press_and_wait(first, "b")
    second.keyboard.press("g")
    wait_for_notice(second, "decided meanwhile")
    assert served.corrections.decisions[decided].verdict == "bad"
    manifest = served.run / "pseudo-masks" / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    first.keyboard.press("g")
    wait_for_notice(first, "changed")
    settle(first)
    assert list(served.corrections.decisions) == [decided]
    press_and_wait(first, "g")  # the page has loaded the run again
    close(first)
    close(second)


def test_a_reload_is_the_same_page_and_a_duplicated_tab_another(
    browser: Any, served: Served
) -> None:
    page = opened(browser, served.address)
    known = page.evaluate("sessionStorage.page")
    page.reload()
    wait_until_ready(page)
    assert page.evaluate("sessionStorage.page") == known
    assert page.is_hidden("#notice")
    with page.expect_popup() as popup:
        page.evaluate("window.open(location.href)")  # copies the storage of the session
    wait_until_ready(popup.value)
    wait_for_notice(popup.value, "another")
    assert popup.value.evaluate("sessionStorage.page") != known
    popup.value.close()
    close(page)


def test_names_never_run_as_script(browser: Any, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    run = reviewed_run(tmp_path, 4)
    for file in run.rglob("*"):
        if file.suffix in (".json", ".jsonl"):
            file.write_text(re.sub(r'"bird"', f'"{evil}"', file.read_text()))
    server = Served(run)
    page = opened(browser, server.address)
    page.on("dialog", lambda dialog: page.errors.append(dialog.message))
    assert evil in page.text_content("#tags")
    assert page.locator("#tags img").count() == 0
    close(page)
    server.end()


def test_a_full_disk_keeps_the_decision(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = reviewed_run(tmp_path, 4)
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import errno, os, pathlib\nreal = os.fsync\n"
        "def fsync(number):\n"
        f"    if pathlib.Path({str(tmp_path / 'full')!r}).exists():\n"
        "        raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "    return real(number)\nos.fsync = fsync\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{hook}:{':'.join(sys.path)}")
    server = Served(run)
    page = opened(browser, server.address)
    (tmp_path / "full").touch()
    photo = photo_of(page)
    page.keyboard.press("b")
    wait_for_notice(page, "disk is full")
    assert photo not in server.corrections.decisions
    (tmp_path / "full").unlink()
    wait_until_left(page, photo)
    assert server.corrections.decisions[photo].verdict == "bad"
    close(page)
    server.end()
