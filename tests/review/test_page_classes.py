"""The classes of the page in Chromium: their order, their numbers, and tags that follow."""

from __future__ import annotations

from typing import Any

from reviewed_run import CLASSES
from served_page import (
    Served,
    close,
    is_pressed,
    loaded_photo,
    opened,
    press_and_wait,
    settle,
    wait_for_photo,
)


def names_in(page: Any, group: str) -> list[str]:
    """Return what stands on the buttons of a group: the number, then the name."""
    found = page.locator(f"#{group} button").all_text_contents()
    return [str(text) for text in found]


def chosen(page: Any) -> str:
    label = page.get_attribute("#classes [aria-pressed=true]", "data-label")
    return {"0": "background", "255": "ignored"}.get(label) or CLASSES.names[int(label) - 1]


def tags_of(page: Any) -> list[str]:
    return [name for name in CLASSES.names if is_pressed(page, name)]


def open_with_tags(page: Any, tags: list[str]) -> str:
    """Step to the first photo with these tags; return its id."""
    while tags_of(page) != tags:
        press_and_wait(page, "n")
    return loaded_photo(page)


def test_the_tags_of_the_photo_have_the_first_numbers(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = open_with_tags(page, ["dog"])
    assert names_in(page, "tags") == ["1dog", "2cat", "3bird"]
    assert names_in(page, "classes") == ["0background", "1dog", "2cat", "3bird", "iignored"]
    assert page.locator("#only option").all_text_contents() == ["all", "dog", "cat", "bird"]
    assert chosen(page) == "dog"
    page.keyboard.press("3")
    assert chosen(page) == "bird"
    page.keyboard.press("c")
    assert page.input_value("#only") == "2"  # dog
    page.keyboard.press("Shift+Digit2")
    settle(page)
    assert served.corrections.decisions[photo].tags_added == ("cat",)
    page.keyboard.press("Shift+Digit2")  # the numbers stay while the photo is in sight
    settle(page)
    assert served.corrections.decisions[photo].tags_added == ()
    open_with_tags(page, ["bird"])
    assert chosen(page) == "bird"
    close(page)


def test_keys_choose_the_previous_and_the_next_class(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    open_with_tags(page, ["dog"])
    order = ["dog", "cat", "bird", "ignored", "background", "dog"]
    for name in order[1:]:
        page.keyboard.press(".")
        assert chosen(page) == name
    for name in reversed(order[:-1]):
        page.keyboard.press(",")
        assert chosen(page) == name
    close(page)


def test_a_drawn_class_becomes_a_tag_once_it_is_saved(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = open_with_tags(page, ["dog"])
    page.focus("#canvas")
    page.keyboard.press("Space")
    assert page.is_hidden("#new-tags")  # a dog is no news
    page.keyboard.press("3")
    page.keyboard.press("Space")
    assert "adds to the tags: bird" in page.inner_text("#new-tags")
    page.keyboard.press("z")
    assert page.is_hidden("#new-tags")
    page.keyboard.press("Space")
    press_and_wait(page, "s")
    own = served.corrections.decisions[photo]
    assert (own.verdict, own.tags_added, own.tags_removed) == ("corrected", ("bird",), ())
    settle(page)
    page.keyboard.press("z")
    wait_for_photo(page, photo)
    settle(page)
    assert tags_of(page) == ["dog"] and served.corrections.decisions[photo].tags_added == ()
    close(page)


def test_a_validation_photo_is_shown_as_one(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    seen = set()
    while seen != {"train", "val"}:
        loaded_photo(page)
        split = page.text_content("#caption").rpartition(" · ")[2]
        assert page.is_visible("#validation") == (split == "val")
        seen.add(split)
        press_and_wait(page, "n")
    close(page)
