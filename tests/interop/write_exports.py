"""Writes difficult masks in every format, for `read_exports.py`: ``make interop``.

Usage: ``python tests/interop/write_exports.py DIR``. ``DIR/truth`` has the masks as arrays.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tag2mask.classes import ClassSet
from tag2mask.steps.mask_exchange.export import export_masks
from tag2mask.steps.mask_exchange.sources import MaskSource, SourceMask
from tag2mask.steps.mask_exchange.targets import TARGETS

CLASSES = ClassSet(("dog", "café au lait", "third"))
VARIANTS = {
    **{name: (name, {}) for name in TARGETS},
    "coco-polygons": ("coco", {"polygons": True}),
    "coco-stuff": ("coco", {"by_class": True}),
    "labelme-polygons": ("labelme", {"polygons": True}),
    "voc-cvat": ("voc", {"void": "background"}),
}
"""Format and options of the writer, by the name of the export."""


def masks() -> dict[str, np.ndarray]:
    """Masks by id: names, sizes and shapes that formats get wrong."""
    rng = np.random.default_rng(0)
    found = {"empty": np.zeros((31, 47), np.uint8), "full": np.full((20, 33), 2, np.uint8)}
    holes = np.zeros((40, 50), np.uint8)
    holes[4:36, 4:46] = 1
    holes[10:30, 10:40] = 0
    holes[15:25, 15:35] = 2
    holes[18:22, 20:30] = 1
    found["holes"] = holes
    lines = np.zeros((37, 64), np.uint8)
    lines[5, 3:60], lines[:, 30] = 1, 3
    np.fill_diagonal(lines[8:, 33:], 2)
    lines[0, 0] = lines[-1, -1] = 3
    found["lines"] = lines
    for id in ("with space", "ünï/cødé 漢字", "deep/er/a b", "a/same", "b/same", "two.dots.x"):
        blocks = rng.integers(0, 5, (7, 9))
        blocks[blocks == 4] = 255
        found[id] = np.kron(blocks, np.ones((6, 5))).astype(np.uint8)
    found["noise"] = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), (29, 41))
    return found


def main(folder: Path) -> None:
    """Write photos, masks and every export below a folder."""
    rows = []
    for place, (id, mask) in enumerate(masks().items()):
        for part, pixels in (("masks", mask), ("photos", np.dstack([mask] * 3))):
            path = folder / "source" / part / f"{id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        (folder / "truth").mkdir(exist_ok=True)
        np.save(folder / "truth" / f"{place}.npy", mask)
        split = "val" if place % 3 == 2 else "train"
        rows.append({"id": id, "split": split, "mask": f"{place}.npy"})
    (folder / "truth/photos.json").write_text(json.dumps(rows))
    (folder / "truth/classes.json").write_text(json.dumps(CLASSES.names))
    own = [
        SourceMask(
            row["id"],
            folder / f"source/masks/{row['id']}.png",
            folder / f"source/photos/{row['id']}.png",
            split=row["split"],
            score=0.5,
        )
        for row in rows
    ]
    source = MaskSource(folder / "source/masks", "masks", CLASSES, tuple(own))
    for name, (target, options) in VARIANTS.items():
        # Copies: supervision takes no links that lead out of the folder.
        out = folder / "exports" / name
        export_masks(source, TARGETS[target], out, photo_files="copy", options=options)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
