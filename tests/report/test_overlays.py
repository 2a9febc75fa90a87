"""Overlays of scores and masks at any size, and contact sheets."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2lab

from tag2mask.report.overlays import (
    HEAT,
    cam_sheet,
    fitted,
    heat_layer,
    heat_overlay,
    mask_layer,
    mask_overlay,
)

COLORS = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]


def gray(width: int, height: int, value: int = 128) -> Image.Image:
    return Image.new("RGB", (width, height), (value, value, value))


def test_heat_colors_rise_evenly_in_lightness() -> None:
    lightness = rgb2lab(HEAT[None] / 255.0)[0, :, 0]
    steps = np.diff(lightness)
    assert (steps > 0).all()
    assert steps.max() < 4 * steps.mean()


def test_heat_overlay_is_lighter_where_the_score_is_higher() -> None:
    scores = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (32, 1))
    shown = np.asarray(heat_overlay(gray(64, 32), scores))
    lightness = rgb2lab(shown / 255.0)[0, :, 0]
    assert lightness[-1] > lightness[32] > lightness[8]
    assert lightness[-1] > 80


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30), st.integers(1, 30))
def test_overlays_keep_the_photos_size(width: int, height: int, h: int, w: int) -> None:
    photo = gray(width, height)
    scores = np.full((h, w), 0.5, np.float32)
    heat = heat_overlay(photo, scores)
    assert heat.size == (width, height)
    one = heat_overlay(gray(1, 1), np.full((1, 1), 0.5, np.float32)).getpixel((0, 0))
    assert (np.asarray(heat) == one).all()
    overlay = mask_overlay(photo, np.ones((h, w), np.uint8), COLORS)
    assert overlay.size == (width, height)
    assert (np.asarray(overlay) == (128, 58, 58)).all()  # .45 of gray and .55 of the color


def test_nan_scores_count_as_zero() -> None:
    photo = gray(8, 8)
    bad = heat_overlay(photo, np.full((8, 8), np.nan, np.float32))
    assert bad.tobytes() == heat_overlay(photo, np.zeros((8, 8), np.float32)).tobytes()


def test_mask_overlay_leaves_background_and_fills_classes() -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[10:50, 5:25] = 1
    mask[10:50, 35:55] = 2
    shown = np.asarray(mask_overlay(gray(60, 60, 100), mask, COLORS)).astype(int)
    assert (shown[0, 0] == 100).all()
    red, green = shown[30, 15], shown[30, 45]
    assert red[0] > red[1] and green[1] > green[0]
    assert shown[30, 5].min() > 130, "the outline is light"
    assert (shown[30, 4] == 100).all(), "the outline is inside the class"


def test_layers_over_a_photo_are_the_overlays() -> None:
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (50, 70, 3), np.uint8))
    mask = rng.integers(0, 3, (5, 7), np.uint8).repeat(10, 0).repeat(10, 1)
    mask[:10, :10] = 255
    shown = photo.convert("RGBA")
    shown.alpha_composite(mask_layer(mask, photo.size, COLORS))
    overlay = np.asarray(mask_overlay(photo, mask, COLORS)).astype(int)
    assert np.abs(np.asarray(shown.convert("RGB")) - overlay).max() <= 2
    scores = rng.random((50, 70), np.float32)
    dark = np.asarray(heat_overlay(photo, np.zeros_like(scores))).astype(int)
    heat = np.asarray(heat_layer(scores)).astype(int)
    assert heat.shape == (50, 70, 4)
    assert (heat[..., 3][scores > 0.9] > heat[..., 3][scores < 0.1].max()).all()
    assert np.abs(heat[..., :3] - HEAT[np.rint(scores * 255).astype(int)]).max() <= 1
    assert dark.max() < 255 * 0.6 + 1


def test_void_is_hatched_and_colorless() -> None:
    mask = np.full((40, 40), 255, np.uint8)
    shown = np.asarray(mask_overlay(gray(40, 40), mask, COLORS))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 2
    assert (shown[..., 0] == shown[..., 2]).all()


def test_mask_overlay_with_254_classes() -> None:
    colors = [(i, 255 - i, i) for i in range(255)]
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    shown = np.asarray(mask_overlay(gray(16, 16), mask, colors)).reshape(-1, 3).astype(int)
    # Every pixel but background and void is on an outline: .45 of its color and .55 of white.
    outline = 0.45 * np.array(colors[1:]) + 0.55 * 255
    assert np.abs(shown[1:255] - outline).max() <= 1 and (shown[0] == 128).all()


def test_cam_sheet_has_one_row_per_photo_and_one_column_per_map() -> None:
    one = np.ones((4, 5), np.float32)
    photos = [gray(300, 200), gray(20, 40), gray(50, 50)]
    maps = [[("dog .93", one), ("<script> " + "very long name " * 9, one)], [], [("x", one)]]
    sheet = cam_sheet(photos, maps, cell=90)
    alone = cam_sheet(photos[:1], maps[:1], cell=90)
    assert sheet.width == alone.width > 3 * 90
    assert sheet.height > 60 + 40 + 50 > alone.height
    pixels = np.asarray(sheet)
    gaps = pixels[:, 2 * (90 + 6) : 2 * (90 + 6) + 6]
    assert (gaps == pixels[0, 0]).all(), "a long caption stays inside its cell"


@pytest.mark.parametrize("size", [(1000, 400), (400, 1000), (3, 900), (10, 10)])
def test_fitted_shrinks_and_never_enlarges(size: tuple[int, int]) -> None:
    image = fitted(gray(*size), 100)
    assert max(image.size) <= 100
    assert min(image.size) >= 1
    assert abs(image.width * size[1] - image.height * size[0]) <= max(size)  # within a pixel
    if max(size) <= 100:
        assert image.size == size


def test_no_plotting_library_is_loaded() -> None:
    code = "import sys, tag2mask.report.overlays; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
