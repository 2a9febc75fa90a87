"""Drawings on the page in Chromium: what keeps them, and what is drawn where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reviewed_run import every_sample
from served_page import (
    Served,
    canvas,
    close,
    loaded_photo,
    opened,
    photo_of,
    press_and_wait,
    settle,
    wait_until_left,
)

from tag2mask.artifacts.handles import PreparedData
from tag2mask.data.masks import read_mask
from tag2mask.review.pictures import superpixels


def draw_with_keys(page: Any) -> None:
    page.focus("#canvas")
    page.keyboard.press("Space")
    page.wait_for_selector("#verdicts [data-verdict=corrected]:not([disabled])")


def test_undo_shows_a_saved_drawing_again_as_one_that_is_not(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    page.focus("#canvas")  # its frame is in every picture
    before = canvas(page)
    draw_with_keys(page)
    press_and_wait(page, "s")
    saved = read_mask(served.corrections.masks()[photo], 3)
    settle(page)
    page.keyboard.press("z")
    page.wait_for_selector("#verdicts [data-verdict=corrected]:not([disabled])")
    assert photo_of(page) == photo and canvas(page) != before
    assert served.corrections.decisions[photo].verdict is None
    press_and_wait(page, "s")  # as it was
    assert np.array_equal(read_mask(served.corrections.masks()[photo], 3), saved)
    settle(page)
    page.keyboard.press("z")
    page.wait_for_selector("#verdicts [data-verdict=corrected]:not([disabled])")
    page.keyboard.press("z")  # the drawing, too
    page.wait_for_selector("#verdicts [data-verdict=corrected][disabled]")
    assert canvas(page) == before
    close(page)


@pytest.mark.parametrize("key", ["b", "u"])
def test_a_decision_asks_before_it_discards_a_drawing(
    browser: Any, served: Served, key: str
) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    draw_with_keys(page)
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.keyboard.press(key)
    settle(page)
    assert len(asked) == 1 and "isn't saved" in asked[0]
    assert not served.corrections.decisions and photo_of(page) == photo
    assert page.is_enabled("#verdicts [data-verdict=corrected]")  # the drawing is still there
    page.once("dialog", lambda dialog: dialog.accept())
    press_and_wait(page, key)
    assert served.corrections.decisions[photo].verdict == {"b": "bad", "u": "unsure"}[key]
    close(page)


def test_accepting_a_drawing_says_how_to_save_it(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    draw_with_keys(page)
    page.keyboard.press("g")
    assert "press s" in page.text_content("#notice")
    assert not served.corrections.decisions
    press_and_wait(page, "s")
    settle(page)
    assert page.is_hidden("#notice")
    assert served.corrections.decisions[photo].verdict == "corrected"
    close(page)


def test_nothing_is_drawn_while_a_verdict_is_written(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    page.focus("#canvas")
    held: list[Any] = []
    page.route("**/decision?*", lambda route: held.append(route))
    page.keyboard.press("b")
    page.keyboard.press("Space")
    assert "isn't saved yet" in page.text_content("#notice")
    assert page.is_disabled("#verdicts [data-verdict=corrected]")
    held[0].continue_()
    wait_until_left(page, photo)
    page.unroute("**/decision?*")
    close(page)


@pytest.mark.parametrize("view", ["map", "difference", "none", "one class"])
def test_strokes_are_shown_in_every_view(browser: Any, served: Served, view: str) -> None:
    page = opened(browser, served.address)
    loaded_photo(page)
    if view == "one class":
        page.select_option("#only", "2")
    else:
        page.select_option("#layer", view)
    before = canvas(page)
    draw_with_keys(page)
    assert page.input_value("#layer") == "mask" and page.input_value("#only") == ""
    assert canvas(page) != before
    close(page)


def test_a_resized_window_keeps_the_zoom(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    loaded_photo(page)
    page.set_viewport_size({"width": 1300, "height": 800})
    whole = canvas(page)
    page.keyboard.press("r")
    assert canvas(page) == whole  # a photo that is seen whole stays so
    for _ in range(3):
        page.keyboard.press("+")
    page.set_viewport_size({"width": 1300, "height": 760})
    zoomed = canvas(page)
    page.keyboard.press("r")
    assert canvas(page) != zoomed
    close(page)


def test_a_stroke_lands_where_the_zoomed_photo_is_touched(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    before = read_mask(served.run / "pseudo-masks" / "masks" / f"{photo}.png", 3)
    height, width = before.shape
    label = 3 if before[height // 2, width // 2] != 3 else 2
    page.click(f"#classes [data-label='{label}']")
    page.evaluate("document.querySelector('#size').value = 1")
    page.dispatch_event("#size", "input")
    box = page.locator("#canvas").bounding_box()
    scale = min(box["width"] / width, box["height"] / height)
    left = box["x"] + (box["width"] - width * scale) / 2
    top = box["y"] + (box["height"] - height * scale) / 2
    row, column = height // 2, width // 3
    x, y = left + (column + 0.5) * scale, top + (row + 0.5) * scale
    page.mouse.move(x, y)
    for _ in range(4):
        page.mouse.wheel(0, -100)  # keeps the pixel under the mouse
    page.mouse.click(x, y)
    page.mouse.click(x + min(40, scale * 1.2**4), y)  # the pixel to the right
    press_and_wait(page, "s")
    after = read_mask(served.corrections.mask_file(photo), 3)
    assert np.argwhere(after != before).tolist() == [[row, column], [row, column + 1]]
    assert set(after[after != before].tolist()) == {label}
    close(page)


def test_a_superpixel_of_the_photo_is_drawn(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    before = read_mask(served.run / "pseudo-masks" / "masks" / f"{photo}.png", 3)
    middle = tuple(side // 2 for side in before.shape)
    label = 3 if before[middle] != 3 else 2
    page.click(f"#classes [data-label='{label}']")
    page.focus("#canvas")
    page.keyboard.press("x")
    draw_with_keys(page)
    press_and_wait(page, "s")
    after = read_mask(served.corrections.mask_file(photo), 3)
    samples = every_sample(PreparedData.open(served.run / "prepare"))
    image = next(sample.image for sample in samples if sample.id == photo)
    regions = superpixels(image, before.shape)
    chosen = regions == regions[middle]
    assert 1 < chosen.sum() < chosen.size / 2
    assert (after[chosen] == label).all() and np.array_equal(after[~chosen], before[~chosen])
    close(page)
