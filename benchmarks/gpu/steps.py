"""Speed of each step of a run on photos, from files to files, with short trainings.

Steps run one after the other in this process, as in a run. Steps over photos run twice, and the
second time counts: the first has the start of the libraries in it.
"""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.gpu.busy import BusyShare
from tag2mask.artifacts.handles import (
    AffinityLabels,
    AffinityModel,
    CamMaps,
    CamModel,
    Handle,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    SegmenterModel,
    WalkedMaps,
)
from tag2mask.data.inventory import Inventory
from tag2mask.data.prepare.listing import list_data
from tag2mask.data.splits import SPLITS
from tag2mask.recipe.schema import Recipe
from tag2mask.runtime.session import Runtime
from tag2mask.steps.affinity_labels import affinity_labels
from tag2mask.steps.infer_cam import infer_cam
from tag2mask.steps.predict import predict_prepared
from tag2mask.steps.prepare import prepare
from tag2mask.steps.pseudo_masks import pseudo_masks
from tag2mask.steps.train_affinity import train_affinity
from tag2mask.steps.train_cam import train_cam
from tag2mask.steps.train_segmenter import train_segmenter
from tag2mask.steps.walk import walk
from tag2mask.training.log import LOSSES

SECONDS, RATE = "s per step", "photos per second"
LOGGED = 10
"""Steps between two rows of a training's log; the first one has the start in it."""


class Figure(NamedTuple):
    """What was measured of a step.

    Attributes:
        ours: seconds per training step, or photos per second.
        unit: of ``ours``.
        gpu_busy: share of the time in which the GPU computed, 0..1; None: not known.
    """

    ours: float
    unit: str
    gpu_busy: float | None


def short_settings(steps: int) -> list[str]:
    """Return settings of trainings that end after some steps, and masks that are never empty."""
    trainings = [
        f"train_{name}.{key}"
        for name in ("cam", "affinity", "segmenter")
        for key in (f"max_steps={steps}", "epochs=999", f"log_every={min(LOGGED, steps)}")
    ]
    return [
        *trainings,
        "train_cam.warm_start=0",
        "train_cam.picture_every=0",
        "affinity_labels.threshold_from=estimated",
        "walk.alpha=24",
        "pseudo_masks.threshold_from=fixed",
        "pseudo_masks.background_threshold=0.01",
        "train_segmenter.use_empty_masks=true",
    ]


def fewer_photos(inventory: Inventory, count: int) -> Inventory:
    """Return an inventory of at most ``count`` photos of each split, evenly chosen."""
    kept = []
    for split in SPLITS:
        entries = [entry for entry in inventory.entries if entry.split == split]
        every = max(1, -(-len(entries) // count))
        kept += entries[::every]
    validation = sum(entry.split == "val" for entry in kept)
    return replace(inventory, entries=tuple(kept), drawn=validation if inventory.drawn else 0)


@dataclass
class RunSteps:
    """Runs the steps of a recipe in order and measures them.

    Attributes:
        photos: data folder.
        recipe: with `short_settings`.
        out: folder to write.
        runtime: where to run.
        count: largest number of photos of each split.
    """

    photos: Path
    recipe: Recipe
    out: Path
    runtime: Runtime
    count: int

    def figures(self) -> dict[str, Figure]:
        """Run all steps; return the figures by the name of the row."""
        recipe, runtime = self.recipe, self.runtime
        found: dict[str, Figure] = {}
        listed = fewer_photos(list_data(self.photos, recipe.prepare, None), self.count)
        data = prepare(self.photos, recipe.prepare, self.out / PreparedData.step, listed=listed)

        def training(kind: type[Handle], run: Callable[[Path], Handle], batch: int) -> Path:
            folder = self.out / kind.step
            with BusyShare(self._gpu()) as busy:
                run(folder)
            found[f"gpu_{name_of(kind)}_step"] = Figure(
                seconds_per_step(folder, batch), SECONDS, busy.share
            )
            return folder

        def photos(kind: type[Handle], run: Callable[[Path], Handle]) -> Path:
            run(self.out / f"{kind.step}-first")
            folder = self.out / kind.step
            with BusyShare(self._gpu()) as busy:
                start = time.perf_counter()
                handle = run(folder)
                seconds = time.perf_counter() - start
            rate = handle.manifest.counts["photos"] / seconds
            found[f"gpu_{name_of(kind)}_photos"] = Figure(rate, RATE, busy.share)
            return folder

        batch = recipe.train_cam.batch_size
        out = training(CamModel, lambda to: train_cam(data, recipe.train_cam, to, runtime), batch)
        model = CamModel.open(out)
        out = photos(CamMaps, lambda to: infer_cam(data, model, recipe.infer_cam, to, runtime))
        maps = CamMaps.open(out)
        out = photos(
            AffinityLabels,
            lambda to: affinity_labels(data, maps, recipe.affinity_labels, to, runtime),
        )
        labels, batch = AffinityLabels.open(out), recipe.train_affinity.batch_size
        out = training(
            AffinityModel,
            lambda to: train_affinity(data, labels, recipe.train_affinity, to, runtime),
            batch,
        )
        affinity = AffinityModel.open(out)
        out = photos(WalkedMaps, lambda to: walk(data, maps, affinity, recipe.walk, to, runtime))
        walked = WalkedMaps.open(out)
        out = photos(
            PseudoMaskFolder,
            lambda to: pseudo_masks(data, walked, recipe.pseudo_masks, to, runtime),
        )
        masks, batch = PseudoMaskFolder.open(out), recipe.train_segmenter.batch_size
        out = training(
            SegmenterModel,
            lambda to: train_segmenter(data, masks, recipe.train_segmenter, to, runtime, model),
            batch,
        )
        segmenter = SegmenterModel.open(out)
        photos(
            Predictions,
            lambda to: predict_prepared(data, segmenter, recipe.predict, to, runtime),
        )
        return found

    def _gpu(self) -> int | None:
        device = self.runtime.device
        return (device.index or 0) if device.type == "cuda" else None


def name_of(kind: type[Handle]) -> str:
    """Return the name of a step in the name of a row."""
    return kind.step.replace("-", "_")


def seconds_per_step(folder: Path, batch: int) -> float:
    """Return the median seconds of a training step, from the log without its first row."""
    with (folder / LOSSES).open() as lines:
        rates = [float(row["photos_per_second"]) for row in csv.DictReader(lines)]
    return statistics.median(batch / rate for rate in rates[1:] or rates)


def synchronized(function: Callable[[], object], device: torch.device) -> Callable[[], None]:
    """Return a function that also waits until the GPU has done its work."""

    def run() -> None:
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run
