"""The keys of the page in Chromium, wherever the focus is."""

from __future__ import annotations

from typing import Any

from served_page import (
    Served,
    canvas,
    close,
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

from small_runs import invoke
from tag2mask.review.ask import read_asked


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
    wait_until_left(page, photo)
    second = loaded_photo(page)
    for key in ("Enter", "Space"):
        page.keyboard.press(key)
        settle(page)
        assert photo_of(page) == second and list(served.corrections.decisions) == [photo]
    assert page.evaluate("document.activeElement.id") == "canvas"
    close(page)


def test_the_tag_of_the_chosen_class_has_a_key(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    page.keyboard.press("i")
    page.keyboard.press("t")
    assert "choose a class" in page.text_content("#notice")
    page.keyboard.press("3")
    name = str(page.text_content("#tags button:nth-child(3)")).lstrip("3")
    had = is_pressed(page, name)
    page.keyboard.press("t")
    settle(page)
    own = served.corrections.decisions[photo]
    assert (own.tags_removed if had else own.tags_added) == (name,) and own.verdict is None
    close(page)


SIGNS_ON_DIGITS: list[tuple[dict[str, Any], int | None, int]] = [
    ({"key": "2", "code": "Digit2"}, 2, 0),
    ({"key": "[", "code": "Digit8", "modifierAltGraph": True}, None, -2),  # German
    ({"key": "]", "code": "Digit9", "modifierAltGraph": True, "ctrlKey": True}, None, 2),
    ({"key": "[", "code": "Digit5", "modifierAltGraph": True}, None, -2),  # French
    ({"key": "{", "code": "Digit4", "modifierAltGraph": True}, None, 0),
    ({"key": "-", "code": "Digit6"}, None, 0),
    ({"key": "x", "code": "Digit4", "altKey": True}, None, 0),
    ({"key": '"', "code": "Digit3"}, 3, 0),
    ({"key": "1", "code": "Numpad1"}, 1, 0),
]
"""Keys, the digit whose class they choose, and by how much they change the brush."""


def test_signs_on_keys_of_digits(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    loaded_photo(page)
    label, size = chosen_label(page), int(page.input_value("#size"))
    for event, digit, growth in SIGNS_ON_DIGITS:
        before = canvas(page)
        page.evaluate(
            """event => document.dispatchEvent(
                 new KeyboardEvent("keydown", { ...event, bubbles: true }))""",
            event,
        )
        label = label if digit is None else label_of_digit(page, digit)
        size += growth
        assert (chosen_label(page), int(page.input_value("#size"))) == (label, size), event
        assert (canvas(page) != before) == (event["key"] == "-"), event  # it zooms out
    assert served.corrections.decisions == {}
    close(page)


def chosen_label(page: Any) -> str:
    return str(page.get_attribute("#classes [aria-pressed=true]", "data-label"))


def label_of_digit(page: Any, digit: int) -> str:
    """Return the class whose number on the photo in sight is a digit."""
    button = page.locator("#classes button").filter(has=page.locator(f"kbd:text-is('{digit}')"))
    return str(button.get_attribute("data-label"))


def test_undo_goes_on_after_a_reload(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    first = press_and_wait(page, "b")
    settle(page)
    second = press_and_wait(page, "u")
    settle(page)
    page.reload()
    wait_until_ready(page)
    for photo in (second, first):
        page.keyboard.press("z")
        wait_for_photo(page, photo)
        loaded_photo(page)
        assert served.corrections.decisions[photo].verdict is None
    page.keyboard.press("z")
    assert "Nothing to undo" in page.text_content("#notice")
    close(page)


def test_undo_may_be_pressed_faster_than_it_is_done(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    page.keyboard.press("3")
    name = str(page.text_content("#tags button:nth-child(3)")).lstrip("3")
    for _ in range(3):
        page.keyboard.press("t")
        settle(page)
    page.evaluate("""['z', 'z'].forEach(key =>
      document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })))""")
    page.wait_for_timeout(300)
    settle(page)
    own, had = served.corrections.decisions[photo], not is_pressed(page, name)
    assert (own.tags_removed if had else own.tags_added) == (name,)  # as after the first t
    assert page.is_hidden("#notice")
    assert page.get_attribute("#classes [aria-pressed=true]", "data-label") == label_of(page, name)
    close(page)


def label_of(page: Any, name: str) -> str:
    found = page.locator("#classes button", has_text=name).get_attribute("data-label")
    return str(found)


def test_a_new_list_is_shown_after_a_reload(browser: Any, served: Served) -> None:
    assert invoke("ask", served.run, "--count", "3").exit_code == 0
    page = opened(browser, served.address)
    first = list_of(page)
    assert invoke("ask", served.run, "--count", "6", "--seed", "5").exit_code == 0
    page.reload()
    wait_until_ready(page)
    asked = [one.photo for one in read_asked(served.run / "corrections")]
    assert list_of(page)[:6] == asked != first[:6]
    close(page)


def list_of(page: Any) -> list[str]:
    return [str(one) for one in page.locator("#queue button span.more").all_text_contents()]
