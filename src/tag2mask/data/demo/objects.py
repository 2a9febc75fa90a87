"""The demo's objects and backgrounds, cut from the photos in scikit-image's package.

Each class is one object of several parts, as in the real task: a classifier needs only the most
discriminative part (the cat's face, the headlight), and its activation map ends there, while the
mask includes the fur and the wheels. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from skimage import data as photos

from tag2mask.data.demo.outlines import ASTRONAUT, CAT_FACE, MOTORCYCLE, Outline

_OBJECT_SIDE = 256
"""Long side of the cut-outs, px: larger than in any photo of the demo."""


def object_cutouts() -> dict[str, Image.Image]:
    """Return the demo's classes: name -> RGBA cut-out, cropped, long side 256 px."""
    makers: dict[str, Callable[[], Image.Image]] = {
        "astronaut": _astronaut,
        "cat": _cat,
        "cup": _cup,
        "horse": _horse,
        "motorcycle": _motorcycle,
    }
    return {name: _crop_visible(maker()) for name, maker in makers.items()}


def backgrounds() -> list[Image.Image]:
    """Return RGB photos and textures without any of the classes; gray ones are tinted."""
    coffee, rocket = _rgb(photos.coffee()), _rgb(photos.rocket())
    return [
        _tint(photos.grass(), "#14200c", "#b7c98a"),
        _tint(photos.gravel(), "#2a2622", "#cfc6ba"),
        _tint(photos.brick(), "#3a1510", "#e0a890"),
        _tint(photos.moon()[::2, ::2], "#20242c", "#e6e2d8"),
        _tint(photos.camera()[:250, 330:], "#3d6ea0", "#eef4fa"),
        _tint(photos.camera()[340:, 410:], "#1d3a16", "#a8cf7c"),
        _tint(photos.text(), "#3a2c20", "#f3e6cc"),
        _tint(photos.page(), "#14141c", "#fbf7ee"),
        _tint(photos.coins(), "#0a1418", "#c9b27c"),
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
    return _cut_out(photo, _polygon(photo, ASTRONAUT))


def _motorcycle() -> Image.Image:
    photo = _rgb(photos.stereo_motorcycle()[0])
    return _cut_out(photo, _polygon(photo, MOTORCYCLE))


def _cup() -> Image.Image:
    """Return saucer, cup and the tip of the spoon, from above."""
    photo = _rgb(photos.coffee())
    outline = Image.new("L", photo.size)
    draw = ImageDraw.Draw(outline)
    draw.ellipse((77, 72, 479, 384), fill=255)
    outline = outline.rotate(-4, center=(278, 228), resample=Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(outline)
    draw.ellipse((172, 18, 409, 210), fill=255)
    draw.polygon(((398, 74), (412, 66), (425, 72), (412, 118), (396, 110)), fill=255)
    return _cut_out(photo, outline)


def _cat() -> Image.Image:
    """Return the cat: the photo shows only its face, so the body is composed of its fur."""
    photo = _rgb(photos.chelsea())
    face = _cut_out(photo, _polygon(photo, CAT_FACE)).resize((226, 150), Image.Resampling.LANCZOS)
    body = Image.new("L", (420, 400))
    draw = ImageDraw.Draw(body)
    draw.ellipse((90, 110, 300, 385), fill=255)
    draw.ellipse((70, 270, 330, 398), fill=255)
    draw.arc((205, 180, 390, 397), 300, 110, fill=255, width=34)
    fur = _tile(photo.crop((70, 2, 300, 76)), body.size)
    cat = _cut_out(_shaded(fur, body), body)
    for left in (118, 208):
        paw = Image.new("L", body.size)
        ImageDraw.Draw(paw).ellipse((left, 300, left + 62, 398), fill=255)
        pale = _tile(photo.crop((62, 228, 112, 262)), body.size)
        cat.alpha_composite(_cut_out(_shaded(pale, paw), paw))
    cat.alpha_composite(face, (78, 14))
    return cat


def _horse() -> Image.Image:
    """Return the horse: scikit-image has a silhouette; coat, mane, tail and eye are painted."""
    silhouette = Image.fromarray(np.where(photos.horse(), 0, 255).astype(np.uint8))
    hair = _tint(photos.grass()[::2, ::2], "#4a2410", "#c07a48").filter(ImageFilter.SMOOTH)
    coat = _shaded(_tile(hair, silhouette.size), silhouette)
    draw = ImageDraw.Draw(coat)
    draw.polygon(((0, 80), (64, 92), (50, 110), (46, 260), (0, 260)), fill=(44, 26, 16))
    draw.polygon(
        ((230, 96), (262, 74), (308, 22), (338, 12), (344, 24), (322, 40), (286, 84), (250, 106)),
        fill=(44, 26, 16),
    )
    draw.rectangle((0, 282, 400, 328), fill=(40, 30, 26))
    draw.polygon(((362, 96), (388, 78), (396, 92), (372, 104)), fill=(70, 48, 40))
    draw.ellipse((350, 38, 358, 46), fill=(10, 8, 8))
    return _cut_out(coat, silhouette)


def _rgb(array: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")


def _tint(gray: NDArray[np.uint8], dark: str, bright: str) -> Image.Image:
    return ImageOps.colorize(
        ImageOps.autocontrast(Image.fromarray(np.ascontiguousarray(gray)), cutoff=1), dark, bright
    )


def _polygon(photo: Image.Image, outline: Outline) -> Image.Image:
    mask = Image.new("L", photo.size)
    ImageDraw.Draw(mask).polygon([tuple(point) for point in outline], fill=255)
    return mask


def _cut_out(photo: Image.Image, outline: Image.Image) -> Image.Image:
    """Return the photo inside an outline, with a soft edge of one pixel."""
    cutout = photo.convert("RGBA")
    cutout.putalpha(outline.filter(ImageFilter.GaussianBlur(1.0)))
    return cutout


def _tile(patch: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a seamless texture of a size: the patch and its mirror images side by side."""
    texture = np.asarray(patch)
    texture = np.concatenate([texture, texture[:, ::-1]], axis=1)
    texture = np.concatenate([texture, texture[::-1]], axis=0)
    repeats = (-(-size[1] // texture.shape[0]), -(-size[0] // texture.shape[1]), 1)
    return _rgb(np.tile(texture, repeats)[: size[1], : size[0]])


def _shaded(surface: Image.Image, outline: Image.Image) -> Image.Image:
    """Darken a texture towards the outline and the bottom, so that it looks like a body."""
    depth = np.asarray(outline.filter(ImageFilter.GaussianBlur(14)), np.float32) / 255.0
    fall = np.linspace(1.1, 0.75, outline.height, dtype=np.float32)[:, None]
    light = np.clip((0.45 + 0.6 * depth) * fall, 0.0, 1.1)
    shaded = np.asarray(surface, np.float32) * light[..., None]
    return _rgb(np.clip(shaded, 0, 255).astype(np.uint8))


def _crop_visible(cutout: Image.Image) -> Image.Image:
    """Crop a cut-out to its visible part and resize its long side to 256 px."""
    visible = cutout.getchannel("A").point(lambda alpha: 255 if alpha > 127 else 0)
    box = visible.getbbox()
    assert box is not None
    cutout = cutout.crop(box)
    factor = _OBJECT_SIDE / max(cutout.size)
    size = (round(cutout.width * factor), round(cutout.height * factor))
    # Premultiplied alpha, else the hidden surroundings bleed into the edge.
    return cutout.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
