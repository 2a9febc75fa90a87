"""Whether a network's agreement with itself on photos without masks shows which masks taught best.

    python -m benchmarks.experiments.tags_alone.self_agreement RUN...

The runs have trained segmentation networks and the same validation photos. Each photo is labeled as
it is, and mirrored at three quarters of the size. Prints for each run the mIoU of both label maps
with each other (the agreement), then the mIoU of the first with the photos' masks, best agreement
first, and Spearman's rank correlation of the two. Masks of photos decide nothing but the second
number.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import spearmanr

import tag2mask
from tag2mask.data.images import read_image
from tag2mask.data.index import read_classes, read_index, read_mask_paths
from tag2mask.data.masks import read_mask
from tag2mask.metrics.confusion import Confusion

SCALE = 0.75


def main() -> None:
    """Label the validation photos of all runs, and print both numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    options = parser.parse_args()
    found = sorted(((*agreement_and_score(run), run.name) for run in options.runs), reverse=True)
    for agreement, score, name in found:
        print(f"{100 * agreement:.2f} {100 * score:.2f} {name}", flush=True)
    if len(found) > 2:
        agreements, scores, _ = zip(*found, strict=True)
        print(f"rank correlation {spearmanr(agreements, scores).statistic:.2f}")


def agreement_and_score(run: Path) -> tuple[float, float]:
    """Return a network's mIoU with itself and with the photos' masks, in [0, 1]."""
    classes = len(read_classes(run / "prepare"))
    masks = read_mask_paths(run / "prepare")
    once = tag2mask.load(run, device="cpu", scales=(1.0,))
    again = tag2mask.load(run, device="cpu", scales=(SCALE,))
    agreement, score = Confusion.empty(classes), Confusion.empty(classes)
    for sample in read_index(run / "prepare", "val"):
        photo = read_image(sample.image)
        labels = once(photo).labels
        mirrored = again(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)).labels
        agreement.add(labels, np.ascontiguousarray(mirrored[:, ::-1]))
        score.add(read_mask(masks[sample.id], classes), labels)
    return agreement.miou(), score.miou()


if __name__ == "__main__":
    main()
