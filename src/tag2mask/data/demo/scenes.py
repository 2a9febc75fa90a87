"""The demo's data: objects pasted on backgrounds, with exact masks for evaluation.

`make_demo_data` writes a CSV data folder like any user's (``tags.csv``, ``images/``, ``masks/``,
``classes.txt``). A photo is composed in four steps: a background, some clutter, one to three
objects, and lighting. Photo ``i`` depends only on the seed and ``i``.

The clutter, blobs of other textures without a tag, keeps objects from being found as "whatever
isn't background". Some photos show clutter only.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from tag2mask.classes import ClassSet, mask_id
from tag2mask.data.demo.objects import backgrounds, object_cutouts
from tag2mask.data.masks import write_mask
from tag2mask.errors import DataError
from tag2mask.files.atomic import write_text
from tag2mask.files.json_file import write_json
from tag2mask.files.os_errors import readable_os_errors

_PARAMETERS = "demo.json"
_VERSION = 1
"""Increased when the same seed gives other photos."""

_OBJECT_COUNTS = (0.6, 0.3, 0.1)
"""Shares of photos with one, two and three objects."""
_LONG_SIDES = ((0.5, 0.95), (0.4, 0.65), (0.35, 0.5))
"""Range of an object's long side as a share of the photo's short side, by number of objects."""
_MIN_VISIBLE = 0.65
"""Share of each object's area that must remain visible."""
_MAX_TRIES = 40


def make_demo_data(folder: Path, *, photos: int = 240, side: int = 160, seed: int = 0) -> Path:
    """Create the demo's data folder, atomically.

    One in six photos is in the split ``val``, the others in ``train``. One in sixteen shows clutter
    only and has no tag.

    Args:
        folder: where to write; a folder created before with the same parameters is kept, one with
            other parameters is replaced.
        photos: number of photos, >= 12.
        side: long side of the photos, px, >= 64.
        seed: other seeds give other photos.

    Returns:
        ``folder``.

    Raises:
        DataError: ``folder`` contains something else, or a parameter is too small.
        RunFolderError: the disk is full or the folder may not be written.
    """
    if photos < 12 or side < 64:
        raise DataError(
            f"a demo of {photos} photos of {side} px is too small",
            fix="Ask for at least 12 photos of 64 px.",
        )
    parameters = {"edition": _VERSION, "photos": photos, "side": side, "seed": seed}
    found = _read_parameters(folder)
    if found == parameters:
        return folder
    if found is None and (folder.is_file() or (folder.is_dir() and any(folder.iterdir()))):
        raise DataError(
            "contains something other than demo data",
            where=folder,
            fix="Give a new or an empty folder.",
        )
    with readable_os_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            unfinished.chmod(0o755)
            _write(unfinished, photos, side, seed)
            write_json(unfinished / _PARAMETERS, parameters)
            if folder.exists():
                shutil.rmtree(folder)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _read_parameters(folder: Path) -> object:
    """Read the parameters that a demo folder was created with; None where it is incomplete."""
    try:
        return json.loads((folder / _PARAMETERS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(folder: Path, photos: int, side: int, seed: int) -> None:
    cutouts, textures = object_cutouts(), backgrounds()
    classes = ClassSet(tuple(cutouts))
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    rows = ["image,tags,split,mask"]
    for i in range(photos):
        rng = np.random.default_rng((seed, i))
        # The first object cycles through the classes, so that even small splits have them all.
        first = None if i % 16 == 7 else i % len(cutouts)
        scene = _compose(rng, list(cutouts.values()), textures, side, first)
        name = f"{i:04d}"
        scene.photo.save(folder / "images" / f"{name}.jpg", quality=92)
        write_mask(folder / "masks" / f"{name}.png", scene.mask, classes.colors)
        tags = ";".join(classes.names[tag] for tag in scene.tags)
        split = "val" if i % 6 == 5 else "train"
        rows.append(f"images/{name}.jpg,{tags},{split},masks/{name}.png")
    write_text(folder / "classes.txt", "\n".join(classes.names) + "\n")
    write_text(folder / "tags.csv", "\n".join(rows) + "\n")


@dataclass(frozen=True)
class _Scene:
    """A photo with its mask, uint8 (h, w) of mask ids, and its tag ids."""

    photo: Image.Image
    mask: NDArray[np.uint8]
    tags: tuple[int, ...]


def _compose(
    rng: np.random.Generator,
    cutouts: Sequence[Image.Image],
    textures: Sequence[Image.Image],
    side: int,
    first: int | None,
) -> _Scene:
    """Compose a photo; ``first`` is the tag id of its first object, None for clutter only."""
    short = round(side * rng.uniform(0.75, 1.0))
    size = (side, short) if rng.random() < 0.7 else (short, side)
    canvas = _background(rng, textures, size)
    for _ in range(rng.integers(0, 3)):
        _paste_clutter(rng, canvas, textures)
    count = 0 if first is None else 1 + int(rng.choice(3, p=_OBJECT_COUNTS))
    # Two objects of one class occur, but less often than by chance.
    others = [tag for tag in rng.permutation(len(cutouts)) if tag != first or rng.random() < 0.15]
    wanted = [] if first is None else [first, *others[: count - 1]]
    owner = np.full((size[1], size[0]), -1)
    shown: list[int] = []
    for tag in wanted:
        if _paste_object(rng, canvas, owner, cutouts[tag], len(shown), _LONG_SIDES[count - 1]):
            shown.append(int(tag))
    mask = np.zeros(owner.shape, np.uint8)
    for index, tag in enumerate(shown):
        mask[owner == index] = mask_id(tag)
    return _Scene(_apply_light(rng, canvas), mask, tuple(sorted(set(shown))))


def _background(
    rng: np.random.Generator, textures: Sequence[Image.Image], size: tuple[int, int]
) -> Image.Image:
    """Return a background: one texture, or two with a slanted horizon between them."""
    first = _texture(rng, textures, size)
    if rng.random() < 0.5:
        return first
    left, right = rng.uniform(0.25, 0.75, 2) * size[1]
    below = Image.new("L", size)
    ImageDraw.Draw(below).polygon(
        ((0, left), (size[0], right), (size[0], size[1]), (0, size[1])), fill=255
    )
    return Image.composite(_texture(rng, textures, size), first, below)


def _texture(
    rng: np.random.Generator, textures: Sequence[Image.Image], size: tuple[int, int]
) -> Image.Image:
    """Return a random crop of a random texture, flipped and shifted in color at random."""
    source = textures[int(rng.integers(len(textures)))]
    crop_share = rng.uniform(0.45, 1.0)
    unit = min(source.width / size[0], source.height / size[1]) * crop_share
    w, h = unit * size[0], unit * size[1]
    x, y = rng.uniform(0, source.width - w), rng.uniform(0, source.height - h)
    image = source.resize(size, Image.Resampling.BICUBIC, box=(x, y, x + w, y + h))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _scale_channels(image, rng.uniform(0.7, 1.2) * rng.uniform(0.8, 1.2, 3))


def _paste_clutter(
    rng: np.random.Generator, canvas: Image.Image, textures: Sequence[Image.Image]
) -> None:
    """Paste a blob of another texture with soft corners."""
    w, h = canvas.size
    corners = int(rng.integers(3, 8))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radius = rng.uniform(0.12, 0.3) * min(w, h) * rng.uniform(0.7, 1.0, corners)
    x, y = rng.uniform(0, w), rng.uniform(0, h)
    outline = Image.new("L", canvas.size)
    points = zip(x + radius * np.cos(angles), y + radius * np.sin(angles), strict=True)
    ImageDraw.Draw(outline).polygon([(float(a), float(b)) for a, b in points], fill=255)
    outline = outline.filter(ImageFilter.GaussianBlur(3)).point(
        lambda value: max(0, min(255, (value - 96) * 4))
    )
    canvas.paste(_texture(rng, textures, canvas.size), (0, 0), outline)


def _paste_object(
    rng: np.random.Generator,
    canvas: Image.Image,
    owner: NDArray[Any],
    cutout: Image.Image,
    index: int,
    long_side: tuple[float, float],
) -> bool:
    """Paste one object where enough of it and of the earlier ones remains visible.

    Args:
        rng: source of the object's pose and position.
        canvas: the photo, changed in place.
        owner: index of the object visible at each pixel, int (h, w), -1 for none; changed in place.
        cutout: the object, RGBA.
        index: of the object.
        long_side: range of its long side, as a share of the photo's short side.

    Returns:
        False, with nothing pasted, where no such position was found.
    """
    w, h = canvas.size
    areas = np.array([(owner == earlier).sum() for earlier in range(index)])
    for _ in range(_MAX_TRIES):
        sprite = _transform_cutout(rng, cutout, rng.uniform(*long_side) * min(w, h))
        x = int(rng.integers(-sprite.width // 4, max(w - 3 * sprite.width // 4, 1)))
        y = int(rng.integers(-sprite.height // 4, max(h - 3 * sprite.height // 4, 1)))
        layer = Image.new("RGBA", canvas.size)
        layer.paste(sprite, (x, y))
        covers = np.asarray(layer.getchannel("A")) > 127
        total = (np.asarray(sprite.getchannel("A")) > 127).sum()
        left = np.array([((owner == earlier) & ~covers).sum() for earlier in range(index)])
        if covers.sum() < _MIN_VISIBLE * total or (left < _MIN_VISIBLE * areas).any():
            continue
        canvas.paste(layer, (0, 0), layer)
        owner[covers] = index
        return True
    return False


def _transform_cutout(
    rng: np.random.Generator, cutout: Image.Image, long_side: float
) -> Image.Image:
    """Return the cut-out at a size (long side, px), flipped, rotated and lit at random."""
    sprite = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else cutout
    factor = long_side / max(sprite.size)
    size = (max(8, round(sprite.width * factor)), max(8, round(sprite.height * factor)))
    # Premultiplied alpha, so that the hidden surroundings don't bleed into the edge.
    sprite = sprite.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    sprite = sprite.rotate(rng.normal(0.0, 14.0), Image.Resampling.BICUBIC, expand=True)
    gain = rng.uniform(0.7, 1.2) * rng.uniform(0.88, 1.12, 3)
    lit = _scale_channels(sprite.convert("RGB"), gain).convert("RGBA")
    lit.putalpha(sprite.getchannel("A"))
    return lit


def _scale_channels(image: Image.Image, gain: NDArray[np.float64]) -> Image.Image:
    """Multiply an RGB image by a factor per channel."""
    values = np.asarray(image, np.float32) * gain.astype(np.float32)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _apply_light(rng: np.random.Generator, photo: Image.Image) -> Image.Image:
    """Apply a linear falloff of light and camera noise."""
    values = np.asarray(photo, np.float32)
    h, w = values.shape[:2]
    slope_y, slope_x = rng.uniform(-0.25, 0.25, 2)
    light = 1.0 + slope_y * np.linspace(-1, 1, h)[:, None] + slope_x * np.linspace(-1, 1, w)
    noise = rng.normal(0.0, rng.uniform(1.0, 5.0), values.shape)
    lit = np.clip(values * light[..., None] * rng.uniform(0.85, 1.1) + noise, 0, 255)
    return Image.fromarray(lit.astype(np.uint8))
