"""Photos per second of ``affinity-labels``, whose two dense CRFs per photo share their kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.demo_run import demo_run
from benchmarks.measure import Row, new_folders, quiet, side_by_side
from tag2mask.affinity.labels import agreed_labels, label_path
from tag2mask.artifacts.handles import AffinityLabels, CamMaps, PreparedData
from tag2mask.crf.dense_crf import PUBLISHED_CRF, DenseCrf
from tag2mask.data.images import read_image
from tag2mask.data.index import read_classes, read_index
from tag2mask.data.masks import write_mask
from tag2mask.maps.background_threshold import with_background
from tag2mask.maps.cam_map import read_map
from tag2mask.recipe.maps_to_masks import AffinityLabeling
from tag2mask.runtime.session import Runtime
from tag2mask.steps.affinity_labels import affinity_labels


def step_vs_plain_loop(*, toy: bool = False) -> Row:
    """Measure photos per second of the step, and of a loop with one CRF after the other.

    Returns:
        Rates: unlike in other rows, a larger ratio is better.
    """
    run = demo_run(toy=toy)
    count = len(read_index(run / "prepare", "train"))
    with new_folders() as new:
        times = side_by_side(
            lambda: step(run, next(new)),
            lambda: plain_loop(run, next(new)),
            seconds=0 if toy else 30,
        )
    return Row.of([count / times.ours], [count / times.other], unit="photos/s")


def step(run: Path, out: Path) -> AffinityLabels:
    """Run the step on all cores."""
    with quiet():
        return affinity_labels(
            PreparedData.open(run / "prepare"),
            CamMaps.open(run / "infer-cam"),
            AffinityLabeling(),
            out,
            Runtime.start(device="cpu"),
        )


def plain_loop(run: Path, out: Path) -> None:
    """Compute the same labels in one thread, with two separate CRFs per photo."""
    strong, weak = AffinityLabels.open(run / "affinity-labels").manifest.metrics["alphas"]
    colors = read_classes(run / "prepare").colors
    for sample in read_index(run / "prepare", "train"):
        cam_map = read_map(run / "infer-cam" / "maps" / f"{sample.id}.npz")
        labels = np.zeros(sample.size, np.uint8)
        if cam_map.tags:
            image, scores = np.asarray(read_image(sample.image)), cam_map.full_scores()
            refined = [
                DenseCrf(image, PUBLISHED_CRF, threads=1).refine(with_background(scores, alpha))
                for alpha in (strong, weak)
            ]
            labels = agreed_labels(refined[0], refined[1], cam_map.tags)
        write_mask(label_path(out, sample.id), labels, colors)
