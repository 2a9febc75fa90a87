"""Step folders and folders of PNGs with given masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tag2mask.artifacts.handles import Handle, HandleT, Predictions, PreparedData
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.index import read_classes, read_index
from tag2mask.data.masks import write_mask


def random_masks(data: PreparedData, seed: int = 0) -> dict[str, np.ndarray]:
    """A mask of blocks of every class and of ignored pixels for each photo."""
    rng = np.random.default_rng(seed)
    classes = len(read_classes(data.path))
    found = {}
    for split in ("train", "val"):
        for sample in read_index(data.path, split):
            height, width = sample.size
            blocks = rng.integers(0, classes + 2, (height // 8 + 1, width // 8 + 1))
            blocks[blocks == classes + 1] = 255
            found[sample.id] = np.kron(blocks, np.ones((8, 8)))[:height, :width].astype(np.uint8)
    return found


def write_step(
    out: Path,
    masks: Mapping[str, np.ndarray],
    data: PreparedData | None,
    kind: type[HandleT] = Predictions,
    **metrics: Any,
) -> HandleT:
    """Write a complete folder of a step with these masks; without data, of any photos."""
    coverage: dict[str, Handle | str] = {"data": data} if data is not None else {"photos": "1"}
    colors = tuple((i, i, i) for i in range(1 + 3))
    with step_folder(kind, out, section={}, coverage=coverage) as step:
        for id, mask in masks.items():
            write_mask(step.path / "masks" / f"{id}.png", mask, colors)
            step.journal.record(id, "1")
        return step.finish(counts={"photos": len(masks)}, metrics=metrics)


def write_images(folder: Path, masks: Mapping[str, np.ndarray]) -> Path:
    """Write masks as gray PNGs."""
    for id, mask in masks.items():
        path = folder / f"{id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path)
    return folder
