"""Maps and masks drawn over photos, and contact sheets of them.

The heat colors rise evenly in lightness (matplotlib's *inferno*, CC0), so that they can be read in
gray print and with color vision deficiency. They are interpolated from a few anchors, so that no
plotting library is loaded during training. The photo is darkened and nearly gray, so that colors
show the scores only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tag2mask.artifacts.items import item_path
from tag2mask.classes import BACKGROUND, IGNORE
from tag2mask.files.atomic import atomic_write

RgbColor = tuple[int, int, int]
OVERLAY_SIDE = 1600
"""Largest long side of an overlay in a file of its own, px."""
OVERLAYS = "overlays"
"""Folder of the overlays of a step."""

_INFERNO = (
    0x000004,
    0x0B0724,
    0x210C4A,
    0x3D0965,
    0x57106E,
    0x71196E,
    0x8A226A,
    0xA32C61,
    0xBC3754,
    0xD24644,
    0xE45A31,
    0xF1731D,
    0xF98E09,
    0xFCAC11,
    0xF9CB35,
    0xF2EA69,
    0xFCFFA4,
)
_VOID_LIGHT, _VOID_DARK = 200.0, 110.0
_PAPER, _INK, _FAINT = (250, 250, 249), (28, 27, 26), (120, 118, 114)
_GAP = 6


def _lut(anchors: Sequence[int]) -> NDArray[np.float32]:
    """Return 256 colors (256, 3) in 0..255, linear between evenly spaced 0xRRGGBB anchors."""
    rgb = np.array([(a >> 16, a >> 8 & 255, a & 255) for a in anchors], np.float32)
    at, places = np.linspace(0, 1, 256), np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(at, places, rgb[:, i]) for i in range(3)], 1).astype(np.float32)


HEAT = _lut(_INFERNO)
"""Colors of the scores 0..1 in 256 steps, float32 (256, 3) in 0..255."""


def heat_overlay(image: Image.Image, scores: NDArray[np.float32]) -> Image.Image:
    """Draw scores over a photo as heat colors.

    Args:
        image: photo of mode RGB, (H, W) px.
        scores: float32 (h, w) in [0, 1], of any size; resized to the photo's (bilinear).

    Returns:
        Image of mode RGB and the photo's size.
    """
    assert scores.ndim == 2 and scores.size, scores.shape
    values = _shares(scores)
    if values.shape != (image.height, image.width):
        resized = Image.fromarray(values).resize(image.size, Image.Resampling.BILINEAR)
        values = np.asarray(resized)
    photo = np.asarray(image, np.float32)
    gray = np.asarray(image.convert("L"), np.float32)[..., None]
    dim = 0.6 * (0.75 * gray + 0.25 * photo)
    heat, alpha = _heat(values)
    return _to_image(dim * (1.0 - alpha) + heat * alpha)


def heat_layer(scores: NDArray[np.float32]) -> Image.Image:
    """Return the heat colors of scores as an image of mode RGBA, to be laid over a dark photo.

    Args:
        scores: float32 (h, w) in [0, 1].

    Returns:
        (h, w) px; whoever shows it stretches it to the photo.
    """
    return _to_image(_rgba(*_heat(_shares(scores))))


def mask_overlay(
    image: Image.Image, mask: NDArray[np.uint8], colors: Sequence[RgbColor]
) -> Image.Image:
    """Draw a mask over a photo: classes filled and outlined, void hatched, background unchanged.

    Args:
        image: photo of mode RGB, (H, W) px.
        mask: mask ids, uint8 (h, w), 255 void; resized to the photo's size (nearest).
        colors: RGB 0..255 by mask id (C+1).

    Returns:
        Image of mode RGB and the photo's size.
    """
    fill, alpha = _paint(mask, image.size, colors)
    return _to_image(np.asarray(image, np.float32) * (1.0 - alpha) + fill * alpha)


def mask_layer(
    mask: NDArray[np.uint8], size: tuple[int, int], colors: Sequence[RgbColor]
) -> Image.Image:
    """Return what `mask_overlay` draws over a photo of ``size`` (width, height), of mode RGBA."""
    return _to_image(_rgba(*_paint(mask, size, colors)))


def overlay_path(folder: Path, photo_id: str) -> Path:
    """Return the path of a photo's overlay in the folder of ``pseudo-masks`` or ``predict``.

    Raises:
        RunFolderError: the id leads out of the folder.
    """
    return item_path(folder / OVERLAYS, photo_id, ".jpg")


def write_overlay(
    path: Path, photo: Image.Image, mask: NDArray[np.uint8], colors: Sequence[RgbColor]
) -> None:
    """Write a mask over a photo of mode RGB as JPEG, with a long side of at most `OVERLAY_SIDE`.

    Raises:
        RunFolderError: it can't be written.
    """
    overlay = mask_overlay(fitted(photo, OVERLAY_SIDE), mask, colors)
    with atomic_write(path, durable=False) as temporary:
        overlay.save(temporary, quality=90)


def _paint(
    mask: NDArray[np.uint8], size: tuple[int, int], colors: Sequence[RgbColor]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the colors (H, W, 3) in 0..255 of a mask and their opacity (H, W, 1)."""
    assert mask.dtype == np.uint8 and mask.ndim == 2 and mask.size, (mask.dtype, mask.shape)
    if mask.shape != size[::-1]:
        mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    table = np.zeros((256, 3), np.float32)
    table[: len(colors)] = colors
    fill = table[mask]
    void = mask == IGNORE
    height, width = mask.shape
    stripes = (np.add.outer(np.arange(height), np.arange(width)) // 4) % 2 == 0
    fill[void] = np.where(stripes[void], _VOID_LIGHT, _VOID_DARK)[:, None]
    alpha = np.where(mask == BACKGROUND, 0.0, 0.55).astype(np.float32)[..., None]
    edge = _outline(mask, max(1, round(max(mask.shape) / 250)))
    fill[edge] = 0.45 * fill[edge] + 0.55 * 255.0  # light: visible around dark colors too
    alpha[edge] = 1.0
    return fill, alpha


def _shares(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scores in [0, 1]; 0 for NaN."""
    return np.clip(np.nan_to_num(scores.astype(np.float32), nan=0.0), 0.0, 1.0)


def _heat(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the heat colors (h, w, 3) in 0..255 of values in [0, 1], and their opacity."""
    return HEAT[np.rint(values * 255.0).astype(np.uint8)], (0.15 + 0.65 * values)[..., None]


def _rgba(colors: NDArray[np.float32], opacity: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([colors, 255.0 * opacity], axis=-1)


def _outline(mask: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """Return class pixels (h, w) within ``width`` px of another id; void has no outline."""
    edge = np.zeros(mask.shape, bool)
    for step in range(1, width + 1):
        rows, columns = mask[step:] != mask[:-step], mask[:, step:] != mask[:, :-step]
        edge[step:] |= rows
        edge[:-step] |= rows
        edge[:, step:] |= columns
        edge[:, :-step] |= columns
    edge &= (mask != BACKGROUND) & (mask != IGNORE)
    return edge


def cam_sheet(
    photos: Sequence[Image.Image],
    maps: Sequence[Sequence[tuple[str, NDArray[np.float32]]]],
    *,
    cell: int = 200,
) -> Image.Image:
    """Return a contact sheet: one row per photo, the photo first, then its maps.

    Args:
        photos: RGB photos of any sizes.
        maps: of each photo, its maps: a caption (class, largest score) and float32 (h, w) in
            [0, 1]. Photos may have different numbers of maps, or none.
        cell: side of the square that a picture is fitted into, px.

    Returns:
        Image of mode RGB; its size grows with the number of photos and maps.
    """
    assert len(photos) == len(maps) >= 1, (len(photos), len(maps))
    font = ImageFont.load_default(max(9, cell // 15))
    caption_height = cell // 9
    small = [fitted(photo, cell) for photo in photos]
    columns = 1 + max(len(row) for row in maps)
    height = _GAP + sum(photo.height + caption_height + _GAP for photo in small)
    sheet = Image.new("RGB", (_GAP + columns * (cell + _GAP), height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    top = _GAP
    for photo, row in zip(small, maps, strict=True):
        pictures = [("photo", photo), *((name, heat_overlay(photo, map_)) for name, map_ in row)]
        for j, (caption, picture) in enumerate(pictures):
            left = _GAP + j * (cell + _GAP)
            sheet.paste(picture, (left + (cell - picture.width) // 2, top))
            middle = (left + cell // 2, top + photo.height + caption_height // 2)
            draw.text(
                middle,
                _shortened(caption, font, cell),
                anchor="mm",
                fill=_FAINT if j == 0 else _INK,
                font=font,
            )
        top += photo.height + caption_height + _GAP
    return sheet


def fitted(image: Image.Image, side: int) -> Image.Image:
    """Return the image shrunk to a long side of at most ``side`` px; never enlarged."""
    scale = side / max(image.size)
    if scale >= 1.0:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return the text, truncated with dots if it is wider than ``width`` px."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _to_image(values: NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
