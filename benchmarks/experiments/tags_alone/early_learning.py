"""Early-learning correction: masks corrected by the network that has begun to learn from them.

    python -m benchmarks.experiments.tags_alone.early_learning OUT MASKS [--epochs 8]
        [--confidence 0.8] [--ratio 0.9] [--scales 0.75,1,1.5] [--set train_segmenter.KEY=VALUE ...]

Liu et al., CVPR 2022 (ADELE, https://arxiv.org/abs/2110.03740); the authors' code is ``train.py``
of https://github.com/Kangningthu/ADELE. A network first learns a class and only then the errors of
its masks, when the IoU of its output with the masks it learns from rises more slowly. MASKS is the
pseudo-masks folder of a run. The run's network is trained on it for some epochs at a constant rate.
Per class, its training IoU over the epochs t is fitted by::

    a · (1 - exp(-t^b / c))

A class is flat where the slope has lost the share ``--ratio`` of that of epoch 1. In the training
photos whose masks show a flat class, or no class, pixels become what the network says there, over
several scales and for their tags alone, if that is background or a flat class and its probability
is at least ``--confidence``. OUT becomes a folder like MASKS, for ``tag2mask run --masks``;
``OUT/train-segmenter`` is the network, for ``train_segmenter.init_from``. The paper corrects after
each epoch and also asks for equal output at all scales; this corrects once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit
from torch import Tensor, nn

from tag2mask.artifacts.handles import (
    IMPORTED,
    CamModel,
    PreparedData,
    PseudoMaskFolder,
    SegmenterModel,
)
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.classes import BACKGROUND, IGNORE
from tag2mask.data.index import Sample, read_classes, read_index
from tag2mask.data.masks import mask_path, write_mask
from tag2mask.data.photos import read_photo, read_sample_mask
from tag2mask.data.splits import SPLITS
from tag2mask.files.digests import file_digest
from tag2mask.metrics.confusion import Confusion
from tag2mask.nn.mean import Mean
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.schema import Recipe
from tag2mask.recipe.train_segmenter import TrainSegmenter
from tag2mask.runtime.session import Runtime
from tag2mask.runtime.threads import ordered_map
from tag2mask.segmentation.inference.labeling import PhotoLabeler
from tag2mask.segmentation.loading import open_segmenter
from tag2mask.segmentation.losses import SegmenterObjective
from tag2mask.segmentation.networks import SegmentationNet
from tag2mask.steps import train_segmenter
from tag2mask.steps.predict import segmentation_settings
from tag2mask.steps.trainers.segmenter_task import SegmenterTask

MADE_BY = "model:early-learning"
CURVE = "curve.jsonl"
Labels = NDArray[np.uint8]
Float64 = NDArray[np.float64]


class CountingObjective(SegmenterObjective):
    """The usual objective, which also compares its output with the masks it learns from.

    Args:
        net: as for `SegmenterObjective`.
        stride: as for `SegmenterObjective`.
        classes: number of foreground classes C.
    """

    def __init__(self, net: SegmentationNet, stride: int, classes: int) -> None:
        super().__init__(net, stride)
        self.confusion = Confusion.empty(classes)

    def losses(self, logits: Tensor, labels: Tensor, *others: Tensor | None) -> dict[str, Mean]:
        """Compute the losses of a batch, and count its pixels."""
        found = logits.detach().argmax(dim=1).byte().cpu().numpy()
        self.confusion.add(labels.byte().cpu().numpy(), found)
        return super().losses(logits, labels, *others)


class CurveTask(SegmenterTask):
    """The task, which appends the training IoU of each epoch to a file.

    Args:
        *given: as for `SegmenterTask`.
        file: gets a line ``{"epoch": 1, "iou": [...]}`` for each epoch.
    """

    def __init__(self, *given: Any, file: Path) -> None:
        super().__init__(*given)
        self.counting = CountingObjective(
            self.module.net, self.section.loss_stride, self.photos.num_classes
        )
        self.module = self.counting
        self.file = file

    def on_step_end(self, step: int, module: nn.Module) -> None:
        """Write a line after each epoch."""
        super().on_step_end(step, module)
        epoch, rest = divmod(step, max(1, self.per_epoch // self.section.optimizer.accumulate))
        if rest == 0:
            iou = np.nan_to_num(self.counting.confusion.iou()).round(5).tolist()
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"epoch": epoch, "iou": iou}) + "\n")
            self.counting.confusion = Confusion.empty(self.photos.num_classes)


def read_curve(file: Path) -> Float64:
    """Return the IoU by epoch and mask id, (epochs, C+1); of an epoch with two lines the last."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    by_epoch = {row["epoch"]: row["iou"] for row in rows}
    return np.array([by_epoch[epoch] for epoch in sorted(by_epoch)])


def saturation(epoch: Float64, a: float, b: float, c: float) -> Float64:
    """Return a · (1 - exp(-t^b / c))."""
    found: Float64 = a * (1 - np.exp(-(epoch**b) / c))
    return found


def lost_slope(iou: Float64) -> float:
    """Return the share of the slope of epoch 1 that is lost at the last epoch, in [0, 1].

    Args:
        iou: training IoU of one class by epoch, (epochs,).

    Returns:
        0 where the curve can't be fitted, or rises faster than at the beginning.
    """
    epochs = np.arange(1, len(iou) + 1, dtype=np.float64)
    try:
        (_, b, c), _ = curve_fit(
            saturation,
            epochs,
            iou,
            p0=(1, 1, 1),
            method="trf",
            sigma=np.geomspace(1, 0.1, len(iou)),
            absolute_sigma=True,
            bounds=([0, 0, 1e-6], [1, 1, np.inf]),
        )
    except (RuntimeError, ValueError):
        return 0.0
    last = epochs[-1]
    left = last ** (b - 1) * np.exp((1 - last**b) / c)  # slope at the last / at the first epoch
    return float(np.clip(1 - left, 0, 1))


def flat_classes(curve: Float64, ratio: float) -> list[int]:
    """Return the mask ids of the classes that were learned and whose curve is flat."""
    return [
        mask
        for mask in range(1, curve.shape[1])
        if curve[-1, mask] > 0 and lost_slope(curve[:, mask]) > ratio
    ]


def correct(
    mask: Labels,
    found: Labels,
    probability: NDArray[np.float32],
    flat: Collection[int],
    least: float,
) -> Labels:
    """Return a mask after the correction.

    Args:
        mask: mask ids, uint8 (h, w).
        found: the network's, uint8 (h, w).
        probability: of what it found, (h, w).
        flat: mask ids of the flat classes.
        least: pixels of a smaller probability are kept.
    """
    shown = set(np.unique(mask).tolist()) - {BACKGROUND, IGNORE}
    if shown and shown.isdisjoint(flat):
        return mask
    sure = (probability >= least) & np.isin(found, [BACKGROUND, *flat])
    return np.where(sure, found, mask)


def train_early(
    data: PreparedData,
    masks: PseudoMaskFolder,
    cam: CamModel,
    section: TrainSegmenter,
    out: Path,
    epochs: int,
    runtime: Runtime,
) -> SegmenterModel:
    """Train the network for some epochs at a constant rate, and write its curve beside it."""
    optimizer = section.optimizer.model_copy(update={"schedule": "constant"})
    changes = {"epochs": epochs, "optimizer": optimizer, "validate_epochs": 0}
    task = partial(CurveTask, file=out.parent / CURVE)
    with mock.patch.object(train_segmenter, "SegmenterTask", task):
        return train_segmenter.train_segmenter(
            data, masks, section.model_copy(update=changes), out, runtime, cam
        )


def labeler_of(model: SegmenterModel, recipe: Recipe, scales: tuple[float, ...]) -> PhotoLabeler:
    """Return what labels the training photos with the early network."""
    segmenter = open_segmenter(model.path, precision=recipe.predict.precision)
    section = recipe.predict.model_copy(update={"scales": scales, "flip": True})
    settings = segmentation_settings(section, segmenter)
    return PhotoLabeler(segmenter, replace(settings, confidence="float32"))


def write_corrected(
    step: Step[PseudoMaskFolder],
    data: PreparedData,
    masks: PseudoMaskFolder,
    labeler: PhotoLabeler,
    flat: Collection[int],
    least: float,
) -> dict[str, float]:
    """Write all masks, those of the training photos corrected; return the figures."""
    classes = read_classes(data.path)
    samples = [(sample, split) for split in SPLITS for sample in read_index(data.path, split)]

    def one(place: tuple[Sample, str]) -> tuple[str, int, int]:
        sample, split = place
        file = mask_path(masks.path, sample.id)
        if not file.is_file():  # skipped by an earlier step
            return sample.id, 0, 0
        mask = new = read_sample_mask(sample, file, len(classes))
        if split == "train" and flat:
            found = labeler(read_photo(sample), sample.size, sample.tags)
            assert found.confidence is not None
            new = correct(mask, found.labels, found.confidence.astype(np.float32), flat, least)
        write_mask(mask_path(step.path, sample.id), new, classes.colors)
        return sample.id, int((new != mask).sum()), mask.size if split == "train" else 0

    changed = pixels = 0
    for photo, different, size in ordered_map(one, samples, labeler.segmenter.caller_threads):
        path = mask_path(step.path, photo)
        if path.is_file():
            step.journal.record(photo, MADE_BY, file_digest(path))
        changed, pixels = changed + different, pixels + size
    return {"photos": len(samples), "changed": round(changed / max(1, pixels), 4)}


def main(words: Sequence[str] | None = None) -> None:
    """Train the early network, write the corrected masks and print what changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("masks", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--confidence", type=float, default=0.8)
    parser.add_argument("--ratio", type=float, default=0.9)
    parser.add_argument("--scales", default="0.75,1,1.5")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args(words)
    run, masks = options.masks.parent, PseudoMaskFolder.open(options.masks)
    recipe = load_recipe(str(run / "recipe.yaml"), options.settings)
    data = PreparedData.open(run / PreparedData.step)
    scales = tuple(map(float, options.scales.split(",")))
    section = {
        IMPORTED: MADE_BY,
        "train_segmenter": recipe.train_segmenter.model_dump(mode="json"),
        **{name: getattr(options, name) for name in ("epochs", "confidence", "ratio", "scales")},
    }
    with step_folder(
        PseudoMaskFolder, options.out, section=section, inputs={"masks": masks}
    ) as step:
        if not step.complete:
            network = step.path / SegmenterModel.step
            runtime = Runtime.start(**recipe.runtime.model_dump())
            cam = CamModel.open(run / CamModel.step)
            model = train_early(
                data, masks, cam, recipe.train_segmenter, network, options.epochs, runtime
            )
            flat = flat_classes(read_curve(step.path / CURVE), options.ratio)
            labeler = labeler_of(model, recipe, scales)
            figures = write_corrected(step, data, masks, labeler, flat, options.confidence)
            names = read_classes(data.path).names
            step.finish(
                counts={"photos": int(figures["photos"])},
                metrics={
                    "classes": list(names),
                    IMPORTED: MADE_BY,
                    "flat": [names[mask - 1] for mask in flat],
                    "changed": figures["changed"],
                },
            )
    metrics = step.handle.manifest.metrics
    print(json.dumps({key: metrics[key] for key in ("flat", "changed")}))


if __name__ == "__main__":
    main()
