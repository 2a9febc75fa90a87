"""The page in Chromium: twenty photos by keys and mouse, and what a person can't see."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reviewed_run import CLASSES, reviewed_run
from served_page import (
    Served,
    canvas,
    close,
    digit_of,
    is_pressed,
    loaded_photo,
    opened,
    photo_of,
    press_and_wait,
    settle,
    wait_for_photo,
    wait_until_left,
    wait_until_ready,
)

from small_runs import invoke, write_photos, write_recipe
from tag2mask.artifacts.handles import SegmenterModel
from tag2mask.data.index import read_index
from tag2mask.data.masks import read_mask
from tag2mask.review.ask import read_asked


def test_twenty_photos_by_keys_and_mouse(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    keys = ["g", "b", "u"] * 6
    decided = {press_and_wait(page, key): key for key in keys}
    assert len(decided) == 18
    drawn = loaded_photo(page)
    page.click("#tools [data-tool=brush]")
    page.click("#classes [data-label='3']")
    page.keyboard.press("r")
    box = page.locator("#canvas").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 40, steps=4)
    page.mouse.up()
    page.click("#verdicts [data-verdict=corrected]")
    wait_until_left(page, drawn)
    filled = loaded_photo(page)
    page.click("#tools [data-tool=fill]")
    page.click("#classes [data-label='255']")
    page.mouse.click(middle[0] - 30, middle[1])
    page.keyboard.press("s")
    wait_until_left(page, filled)
    found = served.corrections
    names = {"g": "good", "b": "bad", "u": "unsure"}
    assert {photo: own.verdict for photo, own in found.decisions.items()} == {
        **{photo: names[key] for photo, key in decided.items()},
        drawn: "corrected",
        filled: "corrected",
    }
    accepted = next(photo for photo, key in decided.items() if key == "g")
    pseudo = served.run / "pseudo-masks" / "masks" / f"{accepted}.png"
    assert np.array_equal(read_mask(found.masks()[accepted], 3), read_mask(pseudo, 3))
    before = read_mask(served.run / "pseudo-masks" / "masks" / f"{drawn}.png", 3)
    after = read_mask(found.masks()[drawn], 3)
    changed = after != before
    assert set(after[changed].tolist()) == {3} and 4 < changed.sum() < changed.size / 2
    assert 255 in read_mask(found.masks()[filled], 3)
    assert "20 of 24 decided" in page.text_content("#progress")
    close(page)


@pytest.mark.slow
def test_a_run_uses_what_was_decided_on_the_page(browser: Any, tmp_path: Path) -> None:
    photos, run = write_photos(tmp_path / "photos", 24), tmp_path / "run"
    threshold = {"threshold_from": "fixed", "background_threshold": 0.0}
    settings = write_recipe(tmp_path / "recipe.yaml", walk__enabled=False, pseudo_masks=threshold)
    words = ["run", "--data", photos, "--out", run]
    assert invoke(*words, "--recipe", settings).exit_code == 0
    assert invoke("ask", run, "--count", "10").exit_code == 0
    server = Served(run)
    page = opened(browser, server.address)
    assert photo_of(page) == read_asked(run / "corrections")[0].photo
    drawn = loaded_photo(page)
    page.focus("#canvas")
    page.keyboard.press("Space")
    press_and_wait(page, "s")
    for key in ["b", "g", "g", "u", *["g", "b", "g", "g", "u"] * 3]:
        press_and_wait(page, key)
    close(page)
    server.end()
    done = invoke(*words, "--corrections", run / "corrections", "--update", "--yes")
    assert done.exit_code == 0, done.output
    train = [own.photo for own in server.corrections.decisions.values()]
    assert len(train) == 20
    manifest = SegmenterModel.open(run / "train-segmenter").manifest
    decided = server.corrections
    assert decided.decisions[drawn].verdict == "corrected"
    learned = {s.id for s in read_index(run / "prepare", "train")}
    assert manifest.counts["bad"] == len(learned & set(decided.bad)) > 0
    assert manifest.counts["accepted"] > 0 and manifest.counts["drawn"] == 1
    assert set(manifest.metrics["bad"]) == learned & set(decided.bad)
    scored = (run / "evaluate" / "photos.jsonl").read_text()
    assert not any(f'"id": "{photo}"' in scored for photo in decided.sure)


def test_tags_undo_and_the_keyboard_alone(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    first = photo_of(page)
    had = [name for name in CLASSES.names if is_pressed(page, name)]
    page.keyboard.press(f"Shift+Digit{digit_of(page, 2)}")
    settle(page)
    own = served.corrections.decisions[first]
    assert ("dog" in own.tags_removed) == ("dog" in had)
    assert ("dog" in own.tags_added) == ("dog" not in had)
    press_and_wait(page, "b")
    assert served.corrections.decisions[first].verdict == "bad"
    page.keyboard.press("z")
    wait_for_photo(page, first)
    assert served.corrections.decisions[first].verdict is None
    loaded_photo(page)
    page.focus("#canvas")
    page.keyboard.press("3")
    for key in ("ArrowRight", "ArrowDown", "Space", "ArrowRight", "Space"):
        page.keyboard.press(key)
    page.keyboard.press("z")
    page.keyboard.press("Enter")
    wait_until_left(page, first)
    assert served.corrections.decisions[first].verdict == "corrected"
    for key in ("v", "v", "v", "v", "m", "c", "o", "+", "r", "h"):
        page.keyboard.press(key)
    close(page)


def test_every_view_of_a_photo_is_shown(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    while not any(is_pressed(page, name) for name in CLASSES.names):
        press_and_wait(page, "n")
        settle(page)
    shown = {"mask": canvas(page)}
    for layer in ("map", "difference", "none"):
        page.keyboard.press("v")
        assert page.input_value("#layer") == layer
        shown[layer] = canvas(page)
    assert len(set(shown.values())) == 4
    page.keyboard.press("v")
    assert canvas(page) == shown["mask"]
    page.keyboard.press("m")
    assert page.input_value("#masks") == "network" and canvas(page) != shown["mask"]
    page.keyboard.press("m")
    for key in ("o", "+"):
        before = canvas(page)
        page.keyboard.press(key)
        assert canvas(page) != before, key
    page.keyboard.press("r")
    first = next(name for name in CLASSES.names if is_pressed(page, name))
    one_class = {""}
    for _ in range(len(CLASSES)):
        page.keyboard.press("c")
        label = page.input_value("#only")
        one_class.add(label)
        name = CLASSES.names[int(label) - 1]
        assert (canvas(page) == shown_alone(page)) == (name != first)
    page.keyboard.press("c")
    assert page.input_value("#only") == "" and len(one_class) == len(CLASSES) + 1
    close(page)


def shown_alone(page: Any) -> bytes:
    """Return a picture of the photo without any mask."""
    for _ in range(3):
        page.keyboard.press("v")
    alone = canvas(page)
    page.keyboard.press("v")
    return alone


def test_the_next_photo_is_shown_in_the_same_view(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    page.keyboard.press("v")
    settle(page)
    with page.expect_request("**/map?*"):
        press_and_wait(page, "n")
    close(page)


def test_fill_and_eraser_change_the_mask(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    page.focus("#canvas")
    for key in (digit_of(page, 3), "f", "Space", "e", "Space"):
        page.keyboard.press(key)
    press_and_wait(page, "s")
    before = read_mask(served.run / "pseudo-masks" / "masks" / f"{photo}.png", 3)
    after = read_mask(served.corrections.mask_file(photo), 3)
    height, width = after.shape
    filled, middle = after == 3, (height // 2, width // 2)
    assert after[middle] == 0 and filled.any()
    assert set(before[filled].tolist()) == {int(before[middle])}
    assert (filled | (after == 0))[before == before[middle]].all()
    close(page)


def test_early_strokes_stay_where_undo_ends(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    page.focus("#canvas")
    for key in (digit_of(page, 3), "f", "Space", "d", digit_of(page, 2)):
        page.keyboard.press(key)
    for key in ("Space",) * 31 + ("z",) * 31:
        page.keyboard.press(key)
    assert "can't be undone" in page.text_content("#notice")
    press_and_wait(page, "s")
    assert (read_mask(served.corrections.mask_file(photo), 3) == 3).any()
    close(page)


@pytest.mark.slow
def test_a_thousand_photos_are_listed_without_delay(browser: Any, tmp_path: Path) -> None:
    server = Served(reviewed_run(tmp_path, 1000))
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.address)
    wait_until_ready(page)
    assert page.locator("#queue button").count() == 1000
    assert 0 < sum("/thumbnail" in url for url in asked) < 50  # only those in sight
    start = time.monotonic()
    for _ in range(10):
        press_and_wait(page, "b")
        settle(page)
    assert time.monotonic() - start < 10
    page.close()
    server.end()


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_is_cut_off(browser: Any, served: Served, tmp_path: Path, width: int) -> None:
    page = opened(browser, served.address, width, 900)
    page.screenshot(path=tmp_path / f"{width}.png", full_page=True)
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
    if width > 800:  # there, only the queue and the panel scroll
        assert page.evaluate(f"{root}.scrollHeight <= {root}.clientHeight")
    cut = """[...document.querySelectorAll('#panel button, #panel select')]
      .filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.textContent)"""
    assert page.evaluate(cut) == []
    top = "document.querySelector('#notice').getBoundingClientRect().top"
    page.evaluate("document.querySelector('#notice').hidden = false; scrollTo(0, 10000)")
    assert page.evaluate(top) >= 0  # still seen beside the buttons of a phone
    close(page)
