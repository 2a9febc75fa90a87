"""Generate photos of metal surfaces with small defects: scratches, spots and pits of 8 to 30 px.

    python -m benchmarks.small_defects OUT [--train 300] [--test 100] [--side 1000] [--seed 0]

Writes a CSV data folder (``tags.csv``, ``images/``, ``masks/``, ``classes.txt``). Three in ten
photos are good parts. The test photos are the split ``val`` and have masks; the training photos
have tags alone. Dust and wide shadows are on all photos and have no tag, so that not every
difference from the surface is a defect. Photo i depends only on the seed and i.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from tag2mask.classes import ClassSet, mask_id
from tag2mask.data.masks import write_mask
from tag2mask.files.atomic import write_text

CLASSES = ("scratch", "spot", "pit")
SMALLEST, LARGEST = 8, 30
"""Long side of a defect's bounding box, px; drawn uniformly."""
GOOD_SHARE = 0.3
MOST_OF_A_CLASS = 3
"""Defects of one class in one photo, at most."""
GAP = 40
"""Smallest distance between the centers of two defects, and from a center to the border, px."""
FINE = 4
"""Shapes are drawn this many times larger and then averaged, for smooth edges."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """A photo, uint8 (h, w, 3), its mask of mask ids, uint8 (h, w), and its tag ids."""

    photo: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    tags: tuple[int, ...]


def make_small_defects(
    folder: Path, *, train: int = 300, test: int = 100, side: int = 1000, seed: int = 0
) -> Path:
    """Write the data folder; return it.

    Args:
        folder: where to write; must not exist, or be empty.
        train: number of training photos.
        test: number of test photos, which have masks.
        side: side of the square photos, px.
        seed: other seeds give other photos.

    Raises:
        SystemExit: the folder has files, or can't be made; nothing is changed.
    """
    _check_new(folder)
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    rows, colors = ["image,tags,split,mask"], ClassSet(CLASSES).colors
    for index in range(train + test):
        part = make_part(index, side=side, seed=seed)
        name, is_test = f"{index:04d}", index >= train
        Image.fromarray(part.photo).save(folder / "images" / f"{name}.jpg", quality=95)
        if is_test:
            write_mask(folder / "masks" / f"{name}.png", part.mask, colors)
        tags = ";".join(CLASSES[tag] for tag in part.tags)
        mask = f"masks/{name}.png" if is_test else ""
        rows.append(f"images/{name}.jpg,{tags},{'val' if is_test else 'train'},{mask}")
    write_text(folder / "classes.txt", "\n".join(CLASSES) + "\n")
    write_text(folder / "tags.csv", "\n".join(rows) + "\n")
    return folder


def _check_new(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        has_files = any(folder.iterdir())
    except OSError as error:
        raise SystemExit(f"{folder}: {error.strerror}; give another folder") from None
    if has_files:
        raise SystemExit(f"{folder}: the folder isn't empty; give a new one, or delete it first")


def make_part(index: int, *, side: int, seed: int) -> Part:
    """Make one photo of a part; a good part has no tags."""
    rng = np.random.default_rng((seed, index))
    light = rng.uniform(0, 2 * np.pi)
    surface = _surface(rng, side) * _shadows(rng, side)
    _add_dust(rng, surface)
    mask = np.zeros((side, side), np.uint8)
    centers: list[tuple[int, int]] = []
    for tag in _tags(rng):
        for _ in range(int(rng.integers(1, MOST_OF_A_CLASS + 1))):
            center = _free_place(rng, side, centers)
            if center is not None:
                centers.append(center)
                _add_defect(rng, surface, mask, tag, center, light)
    tags = tuple(tag for tag in range(len(CLASSES)) if (mask == mask_id(tag)).any())
    return Part(_camera(rng, surface), mask, tags)


def _tags(rng: np.random.Generator) -> list[int]:
    if rng.random() < GOOD_SHARE:
        return []
    count = 1 if rng.random() < 0.7 else 2
    return [int(tag) for tag in rng.choice(len(CLASSES), count, replace=False)]


def _free_place(
    rng: np.random.Generator, side: int, taken: list[tuple[int, int]]
) -> tuple[int, int] | None:
    for _ in range(50):
        y, x = (int(value) for value in rng.integers(GAP, side - GAP, 2))
        if all(np.hypot(y - other_y, x - other_x) >= GAP for other_y, other_x in taken):
            return y, x
    return None


def _surface(rng: np.random.Generator, side: int) -> Floats:
    """Return brushed, cast or milled metal, RGB in 0..255, (side, side, 3)."""
    kind = int(rng.integers(3))
    noise = rng.normal(0, 1, (side, side))
    if kind == 0:  # brushed: noise along one direction
        grain = gaussian_filter(noise, (0.6, rng.uniform(8, 25)))
    elif kind == 1:  # cast: grains of two sizes
        grain = gaussian_filter(noise, 1.2) + 2 * gaussian_filter(noise[::-1], 4.0)
    else:  # milled: arcs of the tool
        y, x = np.mgrid[:side, :side].astype(float)
        radius = np.hypot(y + rng.uniform(0.2, 2) * side, x - rng.uniform(0, 1) * side)
        grain = np.sin(radius * 2 * np.pi / rng.uniform(9, 22)) + gaussian_filter(noise, 1.0)
    if kind != 2 and rng.random() < 0.5:
        grain = grain.T
    gray = rng.uniform(100, 170) + rng.uniform(4, 9) * grain / grain.std()
    colored: Floats = gray[..., None] * rng.uniform(0.93, 1.07, 3)
    return colored


def _shadows(rng: np.random.Generator, side: int) -> Floats:
    """Return smooth factors near 1 of light and wide shadows, (side, side, 1)."""
    cells = int(rng.integers(4, 9))
    coarse = rng.normal(0, 0.05, (cells, cells))
    smooth = zoom(coarse, side / cells, order=3, mode="nearest", grid_mode=True)
    factors: Floats = 1 + smooth[:side, :side, None]
    return factors


def _add_dust(rng: np.random.Generator, surface: Floats) -> None:
    side = len(surface)
    for _ in range(int(rng.integers(20, 120))):
        y, x = rng.integers(2, side - 2, 2)
        surface[y : y + int(rng.integers(1, 3)), x : x + int(rng.integers(1, 3))] += rng.normal(
            0, 25
        )


def _add_defect(
    rng: np.random.Generator,
    surface: Floats,
    mask: NDArray[np.uint8],
    tag: int,
    center: tuple[int, int],
    light: float,
) -> None:
    """Draw one defect into surface and mask, in place."""
    extent = int(rng.integers(SMALLEST, LARGEST + 1))
    half = extent // 2 + 4
    rows, columns = (slice(middle - half, middle + half) for middle in center)
    grid = (np.arange(2 * half * FINE) + 0.5) / FINE - half
    y, x = np.meshgrid(grid, grid, indexing="ij")
    shape, paint = _SHAPES[tag](rng, y, x, extent / 2, light)
    cover = _reduced(shape.astype(float))
    patch = surface[rows, columns]
    patch += (_reduced(paint * shape))[..., None] * rng.uniform(0.9, 1.1, 3)
    mask[rows, columns][cover > 0.5] = mask_id(tag)


def _reduced(fine: Floats) -> Floats:
    cells = len(fine) // FINE
    reduced: Floats = fine.reshape(cells, FINE, cells, FINE).mean(axis=(1, 3))
    return reduced


def _scratch(
    rng: np.random.Generator, y: Floats, x: Floats, radius: float, light: float
) -> tuple[NDArray[np.bool_], Floats]:
    """Return a thin, slightly bent line, bright or dark."""
    angle, bend = rng.uniform(0, np.pi), rng.uniform(-0.25, 0.25) / radius
    # Along a slanted line the bounding box is shorter than the line.
    radius = radius / max(abs(np.cos(angle)), abs(np.sin(angle)))
    along = np.cos(angle) * x + np.sin(angle) * y
    across = -np.sin(angle) * x + np.cos(angle) * y - bend * along**2
    width = rng.uniform(1.0, 1.8)
    shape = (abs(along) <= radius) & (abs(across) <= width)
    return shape, np.full(y.shape, rng.choice([-1, 1]) * rng.uniform(35, 70))


def _spot(
    rng: np.random.Generator, y: Floats, x: Floats, radius: float, light: float
) -> tuple[NDArray[np.bool_], Floats]:
    """Return a stain with an uneven outline, darker than the surface."""
    angle = np.arctan2(y, x)
    outline = 1 - rng.uniform(0.05, 0.2) * (1 + np.sin(3 * angle + rng.uniform(0, 6)))
    return np.hypot(y, x) <= radius * outline, np.full(y.shape, -rng.uniform(25, 55))


def _pit(
    rng: np.random.Generator, y: Floats, x: Floats, radius: float, light: float
) -> tuple[NDArray[np.bool_], Floats]:
    """Return a round hole: dark towards the light, bright on the side that faces it."""
    shape = np.hypot(y, x * rng.uniform(1.0, 1.3)) <= radius
    slope = (np.cos(light) * x + np.sin(light) * y) / radius
    return shape, slope * rng.uniform(50, 90)


_SHAPES: tuple[Callable[..., tuple[NDArray[np.bool_], Floats]], ...] = (_scratch, _spot, _pit)
"""In the order of `CLASSES`."""


def _camera(rng: np.random.Generator, surface: Floats) -> NDArray[np.uint8]:
    """Return the photo: slightly blurred, with noise."""
    blurred = gaussian_filter(surface, (0.6, 0.6, 0))
    noisy = blurred + rng.normal(0, rng.uniform(1.5, 3.5), surface.shape)
    pixels: NDArray[np.uint8] = np.clip(noisy, 0, 255).astype(np.uint8)
    return pixels


def main() -> None:
    """Write the data folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=300)
    parser.add_argument("--test", type=int, default=100)
    parser.add_argument("--side", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    make_small_defects(
        options.out, train=options.train, test=options.test, side=options.side, seed=options.seed
    )


if __name__ == "__main__":
    main()
