"""The demo's things and places, cut by hand from the photos that scikit-image ships.

Each class is one thing of several parts, because that is what makes the task real: a classifier
needs only the most telling part (the cat's face, the headlamp) and its activation map stops there,
while the mask asks for the fur and the wheels as well. The outlines are polygons in the pixels of
the source photo. Nothing is downloaded: every photo used lies inside scikit-image's own package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from skimage import data as photos

Outline = Sequence[tuple[int, int]]

_OBJECT_SIDE = 256
"""Cut-outs are kept at this long side, px: larger than any demo photo shows them."""

_ASTRONAUT: Outline = (
    (25, 511),
    (22, 430),
    (26, 372),
    (42, 292),
    (66, 240),
    (114, 208),
    (113, 188),
    (124, 166),
    (150, 151),
    (184, 150),
    (176, 122),
    (158, 103),
    (153, 76),
    (166, 44),
    (196, 22),
    (236, 14),
    (272, 26),
    (296, 50),
    (302, 86),
    (290, 112),
    (272, 132),
    (258, 168),
    (285, 186),
    (303, 220),
    (306, 238),
    (330, 252),
    (352, 290),
    (362, 350),
    (396, 344),
    (432, 352),
    (470, 384),
    (492, 430),
    (497, 456),
    (510, 490),
    (508, 511),
)
_MOTORCYCLE: Outline = (
    (96, 205),
    (100, 197),
    (138, 196),
    (152, 186),
    (143, 165),
    (150, 147),
    (165, 148),
    (175, 160),
    (225, 171),
    (262, 188),
    (340, 192),
    (382, 170),
    (362, 163),
    (384, 148),
    (398, 138),
    (335, 138),
    (332, 125),
    (370, 110),
    (376, 122),
    (398, 112),
    (432, 108),
    (440, 125),
    (466, 128),
    (474, 118),
    (498, 108),
    (500, 80),
    (514, 78),
    (520, 95),
    (545, 98),
    (548, 122),
    (560, 128),
    (563, 118),
    (580, 120),
    (582, 138),
    (560, 150),
    (558, 170),
    (546, 190),
    (543, 208),
    (560, 262),
    (598, 270),
    (640, 298),
    (646, 318),
    (668, 348),
    (682, 390),
    (684, 420),
    (672, 444),
    (646, 454),
    (606, 442),
    (570, 415),
    (542, 386),
    (520, 342),
    (506, 312),
    (512, 292),
    (526, 285),
    (502, 230),
    (482, 238),
    (473, 270),
    (478, 300),
    (476, 335),
    (455, 364),
    (420, 380),
    (376, 382),
    (346, 376),
    (350, 404),
    (338, 412),
    (340, 432),
    (324, 436),
    (330, 402),
    (324, 376),
    (290, 364),
    (268, 382),
    (236, 398),
    (195, 402),
    (156, 386),
    (132, 352),
    (121, 306),
    (128, 270),
    (150, 246),
    (176, 236),
    (150, 240),
    (138, 234),
    (112, 248),
    (104, 240),
    (118, 222),
    (97, 222),
)
_CAT_FACE: Outline = (
    (40, 30),
    (38, 0),
    (80, 0),
    (104, 12),
    (150, 2),
    (300, 0),
    (330, 10),
    (350, 0),
    (398, 0),
    (380, 38),
    (366, 72),
    (362, 108),
    (364, 168),
    (340, 212),
    (318, 244),
    (300, 276),
    (268, 294),
    (216, 294),
    (150, 274),
    (92, 236),
    (54, 190),
    (36, 140),
    (30, 92),
)


def things() -> dict[str, Image.Image]:
    """The demo's classes: name -> RGBA cut-out on a tight canvas, long side 256 px."""
    makers: dict[str, Callable[[], Image.Image]] = {
        "astronaut": _astronaut,
        "cat": _cat,
        "cup": _cup,
        "horse": _horse,
        "motorcycle": _motorcycle,
    }
    return {name: _tight(maker()) for name, maker in makers.items()}


def places() -> list[Image.Image]:
    """Backgrounds and textures that show none of the classes: RGB, tinted where they were gray."""
    coffee, rocket = _rgb(photos.coffee()), _rgb(photos.rocket())
    return [
        _tinted(photos.grass(), "#14200c", "#b7c98a"),
        _tinted(photos.gravel(), "#2a2622", "#cfc6ba"),
        _tinted(photos.brick(), "#3a1510", "#e0a890"),
        _tinted(photos.moon()[::2, ::2], "#20242c", "#e6e2d8"),
        _tinted(photos.camera()[:250, 330:], "#3d6ea0", "#eef4fa"),
        _tinted(photos.camera()[340:, 410:], "#1d3a16", "#a8cf7c"),
        _tinted(photos.text(), "#3a2c20", "#f3e6cc"),
        _tinted(photos.page(), "#14141c", "#fbf7ee"),
        _tinted(photos.coins(), "#0a1418", "#c9b27c"),
        _rgb(photos.hubble_deep_field()[::2, ::2]),
        _rgb(photos.immunohistochemistry()),
        _rgb(photos.retina()[300:1100:3, 300:1100:3]),
        rocket.crop((90, 0, 300, 330)),
        rocket.crop((335, 200, 640, 427)),
        coffee.crop((485, 0, 600, 230)),
        coffee.crop((0, 120, 72, 400)),
    ]


def _astronaut() -> Image.Image:
    photo = _rgb(photos.astronaut())
    return _cut(photo, _polygon(photo, _ASTRONAUT))


def _motorcycle() -> Image.Image:
    photo = _rgb(photos.stereo_motorcycle()[0])
    return _cut(photo, _polygon(photo, _MOTORCYCLE))


def _cup() -> Image.Image:
    """Saucer, cup and the spoon's tip, from above."""
    photo = _rgb(photos.coffee())
    outline = Image.new("L", photo.size)
    draw = ImageDraw.Draw(outline)
    draw.ellipse((77, 72, 479, 384), fill=255)
    outline = outline.rotate(-4, center=(278, 228), resample=Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(outline)
    draw.ellipse((172, 18, 409, 210), fill=255)
    draw.polygon(((398, 74), (412, 66), (425, 72), (412, 118), (396, 110)), fill=255)
    return _cut(photo, outline)


def _cat() -> Image.Image:
    """The photo shows a face alone; the body is modeled from its fur."""
    photo = _rgb(photos.chelsea())
    face = _cut(photo, _polygon(photo, _CAT_FACE)).resize((226, 150), Image.Resampling.LANCZOS)
    body = Image.new("L", (420, 400))
    draw = ImageDraw.Draw(body)
    draw.ellipse((90, 110, 300, 385), fill=255)
    draw.ellipse((70, 270, 330, 398), fill=255)
    draw.arc((205, 180, 390, 397), 300, 110, fill=255, width=34)
    fur = _tiled(photo.crop((70, 2, 300, 76)), body.size)
    cat = _cut(_rounded(fur, body), body)
    for left in (118, 208):
        paw = Image.new("L", body.size)
        ImageDraw.Draw(paw).ellipse((left, 300, left + 62, 398), fill=255)
        pale = _tiled(photo.crop((62, 228, 112, 262)), body.size)
        cat.alpha_composite(_cut(_rounded(pale, paw), paw))
    cat.alpha_composite(face, (78, 14))
    return cat


def _horse() -> Image.Image:
    """scikit-image has the silhouette; hair, mane, tail and eye are painted in."""
    silhouette = Image.fromarray(np.where(photos.horse(), 0, 255).astype(np.uint8))
    hair = _tinted(photos.grass()[::2, ::2], "#4a2410", "#c07a48").filter(ImageFilter.SMOOTH)
    coat = _rounded(_tiled(hair, silhouette.size), silhouette)
    draw = ImageDraw.Draw(coat)
    draw.polygon(((0, 80), (64, 92), (50, 110), (46, 260), (0, 260)), fill=(44, 26, 16))
    draw.polygon(
        ((230, 96), (262, 74), (308, 22), (338, 12), (344, 24), (322, 40), (286, 84), (250, 106)),
        fill=(44, 26, 16),
    )
    draw.rectangle((0, 282, 400, 328), fill=(40, 30, 26))
    draw.polygon(((362, 96), (388, 78), (396, 92), (372, 104)), fill=(70, 48, 40))
    draw.ellipse((350, 38, 358, 46), fill=(10, 8, 8))
    return _cut(coat, silhouette)


def _rgb(array: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")


def _tinted(gray: NDArray[np.uint8], dark: str, bright: str) -> Image.Image:
    return ImageOps.colorize(
        ImageOps.autocontrast(Image.fromarray(np.ascontiguousarray(gray)), cutoff=1), dark, bright
    )


def _polygon(photo: Image.Image, outline: Outline) -> Image.Image:
    mask = Image.new("L", photo.size)
    ImageDraw.Draw(mask).polygon([tuple(point) for point in outline], fill=255)
    return mask


def _cut(photo: Image.Image, outline: Image.Image) -> Image.Image:
    """The photo within a hand-drawn outline, its edge softened by a pixel."""
    cutout = photo.convert("RGBA")
    cutout.putalpha(outline.filter(ImageFilter.GaussianBlur(1.0)))
    return cutout


def _tiled(patch: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A surface without seams: the patch and its mirror images side by side."""
    tile = np.asarray(patch)
    tile = np.concatenate([tile, tile[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[::-1]], axis=0)
    repeats = (-(-size[1] // tile.shape[0]), -(-size[0] // tile.shape[1]), 1)
    return _rgb(np.tile(tile, repeats)[: size[1], : size[0]])


def _rounded(surface: Image.Image, outline: Image.Image) -> Image.Image:
    """Darken towards the outline and the bottom, so that a flat texture looks like a body."""
    depth = np.asarray(outline.filter(ImageFilter.GaussianBlur(14)), np.float32) / 255.0
    fall = np.linspace(1.1, 0.75, outline.height, dtype=np.float32)[:, None]
    light = np.clip((0.45 + 0.6 * depth) * fall, 0.0, 1.1)
    shaded = np.asarray(surface, np.float32) * light[..., None]
    return _rgb(np.clip(shaded, 0, 255).astype(np.uint8))


def _tight(cutout: Image.Image) -> Image.Image:
    """Crop to what is visible and bring the long side to 256 px."""
    visible = cutout.getchannel("A").point(lambda alpha: 255 if alpha > 127 else 0)
    box = visible.getbbox()
    assert box is not None
    cutout = cutout.crop(box)
    factor = _OBJECT_SIDE / max(cutout.size)
    size = (round(cutout.width * factor), round(cutout.height * factor))
    # Premultiplied, else the hidden surroundings bleed into the edge.
    return cutout.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
