"""Drawings on the page in Chromium: what keeps them, and what is drawn where."""

from __future__ import annotations

from typing import Any

import pytest
from served_page import (
    Served,
    canvas,
    close,
    loaded_photo,
    opened,
    photo_of,
    press_and_wait,
    settle,
)


def draw_with_keys(page: Any) -> None:
    page.focus("#canvas")
    page.keyboard.press("Space")
    page.wait_for_selector("#verdicts [data-verdict=corrected]:not([disabled])")


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
    page.wait_for_function(
        "name => !document.querySelector('#caption').textContent.startsWith(name + ' ')", arg=photo
    )
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
