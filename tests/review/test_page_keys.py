"""The keys of the page in Chromium, wherever the focus is."""

from __future__ import annotations

from typing import Any

from served_page import Served, close, loaded_photo, opened, photo_of, press_and_wait, settle


def test_keys_work_after_a_slider_or_a_choice_was_used(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    first = loaded_photo(page)
    page.click("#opacity", position={"x": 20, "y": 5})
    assert int(page.input_value("#opacity")) < 40
    press_and_wait(page, "b")
    settle(page)
    page.click("#layer")  # the pointer gives it the focus
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.input_value("#layer") == "map"
    second = press_and_wait(page, "u")
    settle(page)
    third = press_and_wait(page, "ArrowRight")
    decisions = served.corrections.decisions
    assert (decisions[first].verdict, decisions[second].verdict) == ("bad", "unsure")
    assert third not in decisions
    close(page)


def test_a_control_keeps_its_own_keys(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    page.focus("#opacity")
    before = int(page.input_value("#opacity"))
    page.keyboard.press("ArrowRight")
    assert int(page.input_value("#opacity")) == before + 1
    page.focus("#only")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.id") == "only"
    assert page.input_value("#only") and photo_of(page) == photo
    page.focus("#size")
    press_and_wait(page, "b")
    assert served.corrections.decisions[photo].verdict == "bad"
    close(page)


def test_capital_letters_are_keys_too(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    press_and_wait(page, "B")  # as with Caps Lock
    assert served.corrections.decisions[photo].verdict == "bad"
    close(page)


def test_space_and_enter_decide_one_photo_only(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    page.click("#verdicts [data-verdict=unsure]")
    page.wait_for_function(
        "name => !document.querySelector('#caption').textContent.startsWith(name + ' ')", arg=photo
    )
    second = loaded_photo(page)
    for key in ("Enter", "Space"):
        page.keyboard.press(key)
        settle(page)
        assert photo_of(page) == second and list(served.corrections.decisions) == [photo]
    assert page.evaluate("document.activeElement.id") == "canvas"
    close(page)
