"""What the page in Chromium paints over the photo."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from served_page import Served, canvas, close, is_pressed, loaded_photo, opened, press_and_wait

from tag2mask.data.masks import read_mask


def pixels(page: Any) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(canvas(page))).convert("RGB")).astype(int)


def set_slider(page: Any, name: str, value: int) -> None:
    page.evaluate(f"document.querySelector('#{name}').value = {value}")
    page.dispatch_event(f"#{name}", "input")


def test_the_brush_is_outlined_around_the_mouse(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    photo = loaded_photo(page)
    assert page.is_hidden("#brush")
    height, width = read_mask(served.run / "pseudo-masks" / "masks" / f"{photo}.png", 3).shape
    box = page.locator("#canvas").bounding_box()
    scale = min(box["width"] / width, box["height"] / height)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    set_slider(page, "size", 10)
    page.mouse.move(x, y)
    outline = page.locator("#brush").bounding_box()
    assert outline["width"] == outline["height"]
    assert abs(outline["width"] - 10 * scale) < 1
    assert abs(outline["x"] + outline["width"] / 2 - x) < 1
    assert abs(outline["y"] + outline["height"] / 2 - y) < 1
    page.keyboard.press("f")
    canvas(page)
    assert page.is_hidden("#brush")  # fill has no size
    page.keyboard.press("d")
    page.mouse.move(5, 5)
    assert page.is_hidden("#brush")
    close(page)


def test_contours_are_seen_whatever_the_color_of_a_class(browser: Any, served: Served) -> None:
    page = opened(browser, served.address)
    while not is_pressed(page, "dog"):
        press_and_wait(page, "n")
    loaded_photo(page)
    set_slider(page, "opacity", 1)  # the color of the class can hardly be seen
    shown = pixels(page)
    page.select_option("#layer", "none")
    lighter = (shown - pixels(page)).min(axis=2) > 20
    columns = lighter.mean(axis=0)
    assert columns.max() > 0.5 and (columns > 0.1).sum() < 6  # the right edge of the mask
    close(page)
