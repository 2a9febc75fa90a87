"""The page on a phone in Chromium: fingers scroll it, and paint only once a tool is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from served_page import Served, close, settle, wait_until_ready


@pytest.fixture
def phone(browser: Any, served: Served) -> Iterator[Any]:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(served.address)
    wait_until_ready(page)
    settle(page)
    yield page
    close(page)
    context.close()


def swipe(page: Any, dx: int, dy: int) -> None:
    """Move a finger from the middle of the photo."""
    box = page.locator("#canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = page.context.new_cdp_session(page)
    for step in range(11):
        point = {"x": x + dx * step / 10, "y": y + dy * step / 10}
        kind = "touchMove" if step else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    session.detach()


def is_drawn(page: Any) -> bool:
    return bool(page.is_enabled("#verdicts [data-verdict=corrected]"))


def test_a_finger_scrolls_until_the_brush_is_chosen(phone: Any) -> None:
    swipe(phone, 0, -150)
    phone.wait_for_function("scrollY > 50")
    assert not is_drawn(phone)
    phone.tap("#tools [data-tool=brush]")
    before = phone.evaluate("scrollY")
    swipe(phone, 30, -60)
    assert is_drawn(phone) and phone.evaluate("scrollY") == before


def test_the_photo_stays_in_sight_beside_the_classes(phone: Any) -> None:
    assert phone.evaluate("document.querySelector('header').getBoundingClientRect().height") < 100
    phone.tap("#classes button >> nth=-1")
    box = phone.locator("#canvas").bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] < 600
    swipe(phone, 0, -100)
    assert not is_drawn(phone)
