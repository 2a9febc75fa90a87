"""Inputs of the reference values, drawn again from the numbers that the authors' code was given.

Legacy generators of numpy never change, so the files in ``data/`` hold results alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

Arrays = dict[str, NDArray[Any]]

SEED, DEEPLAB_SEED, CRF_SEED = 7, 31, 8
TAGS = ((2, 14), (7, 11))
"""Tags of the two images."""
INFERENCE_SIZE, CRF_SIZE = (120, 88), (150, 100)
"""Width and height of the photo, px."""


def reference_values(folder: Path, name: str) -> Arrays:
    """Return the arrays of one reference file, with the inputs that it doesn't hold itself."""
    with np.load(folder / name) as arrays:
        return {**inputs(name), **arrays}


def at_stored_pixels(found: Any, stored: Any) -> Any:
    """Return the pixels of a result (..., h, w) that are stored: all, or every n-th."""
    step = -(-found.shape[-1] // stored.shape[-1])
    return found[..., ::step, ::step]


def inputs(name: str) -> Arrays:
    """Return the inputs that belong to a reference file."""
    if name == "crf.npz":
        return _crf()
    if name == "inference.npz":
        photo = Image.fromarray(data.chelsea()).resize(INFERENCE_SIZE, Image.Resampling.BICUBIC)
        return {"image": np.array(photo), "classes": np.array([3, 5, 10])}
    if name == "deeplabv1.npz":
        images = np.random.RandomState(DEEPLAB_SEED).randn(1, 3, 72, 88)
        return {"image": images.astype(np.float32)}
    return _drawn_in_turn().get(name, {})


def _drawn_in_turn() -> dict[str, Arrays]:
    """Return what one generator drew, in its order."""
    rng = np.random.RandomState(SEED)

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.randn(*shape).astype(np.float32)

    def uniform(*shape: int) -> NDArray[np.float32]:
        return rng.rand(*shape).astype(np.float32)

    label = np.zeros((2, 20), np.float32)
    for row, tags in zip(label, TAGS, strict=True):
        row[list(tags)] = 1
    return {
        "seam_forward.npz": {"image": normal(2, 3, 64, 80), "label": label},
        "pcm.npz": {"cam": uniform(2, 21, 9, 11), "features": normal(2, 195, 9, 11)},
        "affinity.npz": {"image": normal(1, 3, 120, 128), "cam": uniform(21, 15, 16)},
        "affinity_labels.npz": {
            "label_map": rng.choice([0, 0, 0, 3, 3, 15, 255], (28, 28)).astype(np.uint8),
            "affinity": (0.05 + 0.9 * rng.rand(34, 480)).astype(np.float32),
        },
    }


def _crf() -> Arrays:
    """Return a photo, and two smooth maps that ignore its edges, float32 (2, h, w)."""
    photo = Image.fromarray(data.chelsea()).resize(CRF_SIZE, Image.Resampling.BICUBIC)
    coarse = (np.random.RandomState(CRF_SEED).rand(2, 4, 5) ** 3).astype(np.float32)
    maps = [Image.fromarray(one).resize(CRF_SIZE, Image.Resampling.BICUBIC) for one in coarse]
    cam = np.stack([np.asarray(one) for one in maps]).clip(0, 1)
    return {"image": np.array(photo), "cam": cam}
