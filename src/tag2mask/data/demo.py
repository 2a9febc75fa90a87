"""The demo's photos: real cut-outs pasted into real places, with exact masks for evaluation.

``make_demo_data`` writes an ordinary CSV data folder (``tags.csv``, ``images/``, ``masks/``,
``classes.txt``), so that the demo takes the same path as anybody's own photos. A photo is made in
four moves: a place, some clutter without meaning, one to three things, and the light of the hour.
Photo ``i`` depends on the seed and ``i`` alone.

The clutter is there so that "not background" is no way to find a thing: blobs of other textures lie
about, too, and some photos show nothing else.
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

from tag2mask.artifacts.files import readable_os_errors, write_json, write_text
from tag2mask.classes import ClassSet, mask_id
from tag2mask.data.demo_objects import places, things
from tag2mask.data.masks import write_mask
from tag2mask.errors import DataError

_RECORD = "demo.json"
_EDITION = 1
"""Counts up when the same seed comes to make other pictures."""

_THINGS_SHARES = (0.6, 0.3, 0.1)
"""How many photos show one, two, three things."""
_LONGEST = ((0.5, 0.95), (0.4, 0.65), (0.35, 0.5))
"""Long side of a thing, share of the photo's short side, by how many things there are."""
_KEPT = 0.65
"""Of each thing at least this share stays in sight."""
_TRIES = 40


def make_demo_data(folder: Path, *, photos: int = 240, side: int = 160, seed: int = 0) -> Path:
    """Make the demo's data folder, whole or not at all.

    One photo in six is of the split ``val``, the others of ``train``; one in sixteen shows clutter
    only and has no tag.

    Args:
        folder: where; a folder that the same call has made before is kept as it is, one of other
            parameters is replaced.
        photos: how many, >= 12.
        side: long side of the photos, px, >= 64.
        seed: other seeds give other photos.

    Returns:
        ``folder``.

    Raises:
        DataError: ``folder`` holds something else, or a parameter is too small.
        RunFolderError: the disk is full or the folder may not be written.
    """
    if photos < 12 or side < 64:
        raise DataError(
            f"a demo of {photos} photos of {side} px is too small",
            fix="Ask for at least 12 photos of 64 px.",
        )
    made_by = {"edition": _EDITION, "photos": photos, "side": side, "seed": seed}
    found = _record(folder)
    if found == made_by:
        return folder
    if found is None and (folder.is_file() or (folder.is_dir() and any(folder.iterdir()))):
        raise DataError(
            "holds something else than demo data",
            where=folder,
            fix="Give a new or an empty folder.",
        )
    with readable_os_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            unfinished.chmod(0o755)
            _write(unfinished, photos, side, seed)
            write_json(unfinished / _RECORD, made_by)
            if folder.exists():
                shutil.rmtree(folder)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _record(folder: Path) -> object:
    """What a demo folder was made by; None where it is none. It is written last."""
    try:
        return json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(folder: Path, photos: int, side: int, seed: int) -> None:
    cutouts, grounds = things(), places()
    classes = ClassSet(tuple(cutouts))
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    rows = ["image,tags,split,mask"]
    for i in range(photos):
        rng = np.random.default_rng((seed, i))
        # The first thing goes round the classes, so that even few photos of a split show them all.
        first = None if i % 16 == 7 else i % len(cutouts)
        scene = _compose(rng, list(cutouts.values()), grounds, side, first)
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
    photo: Image.Image
    mask: NDArray[np.uint8]
    """Mask ids (h, w)."""
    tags: tuple[int, ...]


def _compose(
    rng: np.random.Generator,
    cutouts: Sequence[Image.Image],
    grounds: Sequence[Image.Image],
    side: int,
    first: int | None,
) -> _Scene:
    """One photo with its mask and tags; ``first`` is the tag of its first thing, None for none."""
    short = round(side * rng.uniform(0.75, 1.0))
    size = (side, short) if rng.random() < 0.7 else (short, side)
    canvas = _place(rng, grounds, size)
    for _ in range(rng.integers(0, 3)):
        _clutter(rng, canvas, grounds)
    count = 0 if first is None else 1 + int(rng.choice(3, p=_THINGS_SHARES))
    # Two things of one class occur, but less often than chance would have it.
    others = [tag for tag in rng.permutation(len(cutouts)) if tag != first or rng.random() < 0.15]
    wanted = [] if first is None else [first, *others[: count - 1]]
    owner = np.full((size[1], size[0]), -1)
    shown: list[int] = []
    for tag in wanted:
        if _paste(rng, canvas, owner, cutouts[tag], len(shown), _LONGEST[count - 1]):
            shown.append(int(tag))
    mask = np.zeros(owner.shape, np.uint8)
    for thing, tag in enumerate(shown):
        mask[owner == thing] = mask_id(tag)
    return _Scene(_lit(rng, canvas), mask, tuple(sorted(set(shown))))


def _place(
    rng: np.random.Generator, grounds: Sequence[Image.Image], size: tuple[int, int]
) -> Image.Image:
    """A background: one texture, or one above another with a slanted horizon."""
    first = _texture(rng, grounds, size)
    if rng.random() < 0.5:
        return first
    left, right = rng.uniform(0.25, 0.75, 2) * size[1]
    below = Image.new("L", size)
    ImageDraw.Draw(below).polygon(
        ((0, left), (size[0], right), (size[0], size[1]), (0, size[1])), fill=255
    )
    return Image.composite(_texture(rng, grounds, size), first, below)


def _texture(
    rng: np.random.Generator, grounds: Sequence[Image.Image], size: tuple[int, int]
) -> Image.Image:
    """A random crop of a random ground, mirrored at random, its colors shifted."""
    ground = grounds[int(rng.integers(len(grounds)))]
    crop_share = rng.uniform(0.45, 1.0)
    unit = min(ground.width / size[0], ground.height / size[1]) * crop_share
    w, h = unit * size[0], unit * size[1]
    x, y = rng.uniform(0, ground.width - w), rng.uniform(0, ground.height - h)
    image = ground.resize(size, Image.Resampling.BICUBIC, box=(x, y, x + w, y + h))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _gained(image, rng.uniform(0.7, 1.2) * rng.uniform(0.8, 1.2, 3))


def _clutter(rng: np.random.Generator, canvas: Image.Image, grounds: Sequence[Image.Image]) -> None:
    """Paste a soft-cornered blob of another texture: a thing without a name."""
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
    canvas.paste(_texture(rng, grounds, canvas.size), (0, 0), outline)


def _paste(
    rng: np.random.Generator,
    canvas: Image.Image,
    owner: NDArray[Any],
    cutout: Image.Image,
    thing: int,
    longest: tuple[float, float],
) -> bool:
    """Paste one thing where enough of it and of the earlier ones stays in sight.

    ``owner`` (h, w) holds the number of the thing seen at each pixel, -1 for none, and is updated.
    Returns False, with nothing pasted, when no such position was found.
    """
    w, h = canvas.size
    areas = np.array([(owner == earlier).sum() for earlier in range(thing)])
    for _ in range(_TRIES):
        sprite = _posed(rng, cutout, rng.uniform(*longest) * min(w, h))
        x = int(rng.integers(-sprite.width // 4, max(w - 3 * sprite.width // 4, 1)))
        y = int(rng.integers(-sprite.height // 4, max(h - 3 * sprite.height // 4, 1)))
        layer = Image.new("RGBA", canvas.size)
        layer.paste(sprite, (x, y))
        covers = np.asarray(layer.getchannel("A")) > 127
        whole = (np.asarray(sprite.getchannel("A")) > 127).sum()
        left = np.array([((owner == earlier) & ~covers).sum() for earlier in range(thing)])
        if covers.sum() < _KEPT * whole or (left < _KEPT * areas).any():
            continue
        canvas.paste(layer, (0, 0), layer)
        owner[covers] = thing
        return True
    return False


def _posed(rng: np.random.Generator, cutout: Image.Image, longest: float) -> Image.Image:
    """The cut-out at a size, mirrored, rotated and lit at random."""
    sprite = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else cutout
    factor = longest / max(sprite.size)
    size = (max(8, round(sprite.width * factor)), max(8, round(sprite.height * factor)))
    # Premultiplied, so that the hidden surroundings don't bleed into the edge.
    sprite = sprite.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    sprite = sprite.rotate(rng.normal(0.0, 14.0), Image.Resampling.BICUBIC, expand=True)
    gain = rng.uniform(0.7, 1.2) * rng.uniform(0.88, 1.12, 3)
    lit = _gained(sprite.convert("RGB"), gain).convert("RGBA")
    lit.putalpha(sprite.getchannel("A"))
    return lit


def _gained(image: Image.Image, gain: NDArray[np.float64]) -> Image.Image:
    """RGB times a factor per channel."""
    values = np.asarray(image, np.float32) * gain.astype(np.float32)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _lit(rng: np.random.Generator, photo: Image.Image) -> Image.Image:
    """Light that falls off across the photo, and the camera's noise."""
    values = np.asarray(photo, np.float32)
    h, w = values.shape[:2]
    slope_y, slope_x = rng.uniform(-0.25, 0.25, 2)
    light = 1.0 + slope_y * np.linspace(-1, 1, h)[:, None] + slope_x * np.linspace(-1, 1, w)
    noise = rng.normal(0.0, rng.uniform(1.0, 5.0), values.shape)
    lit = np.clip(values * light[..., None] * rng.uniform(0.85, 1.1) + noise, 0, 255)
    return Image.fromarray(lit.astype(np.uint8))
