"""Each step of a run, from files to files, compared with what its network or its CRF alone takes.

The other side (``benchmarks.bare_networks``) is the least that the step has to compute, in the same
precision and with all cores. What a step takes beyond that is reading, losses, optimizer, resizing
and writing.
"""

from __future__ import annotations

import contextlib
import csv
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks import bare_networks, predict_photos
from benchmarks.demo_run import TOY, demo_run
from benchmarks.measure import Row, new_folders, quiet
from benchmarks.run_steps import run_photos, run_seconds
from tag2mask.artifacts.handles import (
    AffinityLabels,
    AffinityModel,
    CamMaps,
    CamModel,
    PreparedData,
    PseudoMaskFolder,
)
from tag2mask.data.index import read_index, read_samples
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.schema import Recipe
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.session import Runtime
from tag2mask.steps.affinity_labels import affinity_labels
from tag2mask.steps.infer_cam import infer_cam
from tag2mask.steps.train_affinity import train_affinity
from tag2mask.steps.train_cam import train_cam
from tag2mask.steps.train_segmenter import train_segmenter
from tag2mask.steps.walk import walk
from tag2mask.training.log import LOSSES

LOGGED, WINDOWS = 6, 5
"""Steps between two rows of a training's log, and rows; the first one has the start in it."""
ROUNDS = 3
"""How often a training and the bare network are timed in turn."""
PLAIN = ("train_cam.pcm.enabled=false", "train_cam.views.enabled=false")
"""Settings of a network that learns from single views."""
Training = tuple[Callable[[Path], object], Callable[[], None]]
"""A training in a new folder, and what is timed beside its steps."""
BATCH = 8
"""Photos per batch in the default recipe."""


def cam_training(*, toy: bool = False, settings: tuple[str, ...] = ()) -> Training:
    """Return ``train-cam``, and the backbone on both views."""
    section, data = short_recipe(toy=toy, settings=settings).train_cam, _prepared(toy)
    return (
        lambda out: train_cam(data, section, out, _runtime()),
        bare_networks.cam_step(section),
    )


def affinity_training(*, toy: bool = False) -> Training:
    """Return ``train-affinity``, and the network's embeddings."""
    section, data = short_recipe(toy=toy).train_affinity, _prepared(toy)
    labels = AffinityLabels.open(demo_run(toy=toy) / "affinity-labels")
    return (
        lambda out: train_affinity(data, labels, section, out, _runtime()),
        bare_networks.affinity_step(section),
    )


def segmenter_training(*, toy: bool = False) -> Training:
    """Return ``train-segmenter``, and the network up to its logits."""
    section, data = short_recipe(toy=toy).train_segmenter, _prepared(toy)
    run = demo_run(toy=toy)
    masks, cam = PseudoMaskFolder.open(run / "pseudo-masks"), CamModel.open(run / "train-cam")
    return (
        lambda out: train_segmenter(data, masks, section, out, _runtime(), cam),
        bare_networks.segmenter_step(section),
    )


def cam_step(*, toy: bool = False) -> Row:
    """Compare a step of ``train-cam`` with the backbone on both views."""
    return _training(*cam_training(toy=toy), toy=toy)


def affinity_step(*, toy: bool = False) -> Row:
    """Compare a step of ``train-affinity`` with the network's embeddings."""
    return _training(*affinity_training(toy=toy), toy=toy)


def segmenter_step(*, toy: bool = False) -> Row:
    """Compare a step of ``train-segmenter`` with the network up to its logits."""
    return _training(*segmenter_training(toy=toy), toy=toy)


@cache
def infer_cam_photos(*, toy: bool = False) -> Row:
    """Compare ``infer-cam`` with the network's forward pass of the same views."""
    run, section, data = demo_run(toy=toy), short_recipe(toy=toy).infer_cam, _prepared(toy)
    model, samples = CamModel.open(run / "train-cam"), read_samples(data.path)
    return _photos(
        lambda out: infer_cam(data, model, section, out, _runtime()),
        bare_networks.cam_forward(model, section, samples),
        len(samples),
        toy=toy,
    )


@cache
def affinity_label_photos(*, toy: bool = False) -> Row:
    """Compare ``affinity-labels`` with its dense CRFs."""
    run, section, data = demo_run(toy=toy), short_recipe(toy=toy).affinity_labels, _prepared(toy)
    maps, labels = CamMaps.open(run / "infer-cam"), AffinityLabels.open(run / "affinity-labels")
    samples = read_index(data.path, "train")
    return _photos(
        lambda out: affinity_labels(data, maps, section, out, _runtime()),
        bare_networks.crfs(run, labels, section, samples),
        len(samples),
        toy=toy,
    )


@cache
def walked_photos(*, toy: bool = False) -> Row:
    """Compare ``walk`` with the forward pass of AffinityNet's embeddings."""
    run, section, data = demo_run(toy=toy), short_recipe(toy=toy).walk, _prepared(toy)
    maps, model = CamMaps.open(run / "infer-cam"), AffinityModel.open(run / "train-affinity")
    samples = read_samples(data.path)
    return _photos(
        lambda out: walk(data, maps, model, section, out, _runtime()),
        bare_networks.affinity_forward(model, section, samples),
        len(samples),
        toy=toy,
    )


def whole_run(*, toy: bool = False) -> Row:
    """Compare the run of the ``run_…`` rows with the sum of the bare times of its steps.

    Bare times of photos are those of the other rows per photo; the run's photos have their size.
    """
    seconds, recipe = run_seconds(toy=toy), short_recipe(toy=toy)
    photos = run_photos(toy=toy)
    training = photos - photos // 6  # one in six of the demo's photos is for validation
    steps = max(1, training // recipe.train_cam.batch_size)
    plain = short_recipe(toy=toy, settings=PLAIN)
    trained = (
        bare_networks.cam_step(plain.train_cam),
        bare_networks.cam_step(recipe.train_cam),
        bare_networks.affinity_step(recipe.train_affinity),
        bare_networks.segmenter_step(recipe.train_segmenter),
    )
    bare = steps * sum(_median_seconds(step, toy=toy) for step in trained)
    bare += photos * (infer_cam_photos(toy=toy).other + walked_photos(toy=toy).other)
    bare += training * affinity_label_photos(toy=toy).other
    bare += photos * predict_seconds(toy=toy)
    whole = sum(seconds.values())
    return Row(whole / bare, whole, bare, "s")


def short_recipe(*, toy: bool = False, settings: tuple[str, ...] = ()) -> Recipe:
    """Return the default recipe, whose trainings end after a few rows of the log."""
    steps = 2 if toy else LOGGED * WINDOWS
    return load_recipe(
        "lite0-cpu",
        [
            *(TOY if toy else ()),
            "train_cam.warm_start=0",
            "train_cam.picture_every=0",
            *(
                f"train_{name}.{key}"
                for name in ("cam", "affinity", "segmenter")
                for key in (f"max_steps={steps}", "epochs=99", f"log_every={1 if toy else LOGGED}")
            ),
            *settings,
        ],
    )


def _prepared(toy: bool) -> PreparedData:
    return PreparedData.open(demo_run(toy=toy) / "prepare")


def _runtime() -> Runtime:
    return Runtime.start(device="cpu")


def _training(train: Callable[[Path], object], bare: Callable[[], None], *, toy: bool) -> Row:
    """Time the steps of a training by its log, and the bare network's, in turn."""
    ours: list[float] = []
    other: list[float] = []
    for _ in range(1 if toy else ROUNDS):
        with new_folders() as new:
            out = next(new)
            with quiet():
                train(out)
            with (out / LOSSES).open() as lines:
                rates = [float(row["photos_per_second"]) for row in csv.DictReader(lines)]
        ours += [BATCH / rate for rate in rates[1:]]
        other += times(bare, 1 if toy else LOGGED)
    return Row.of(ours, other, unit="s")


def _photos(
    step: Callable[[Path], object], bare: Callable[[], None], number: int, *, toy: bool
) -> Row:
    """Time a step's loop over photos, from files to files, and its network's part, per photo.

    The first time, in which memory is allocated and loops are compiled, doesn't count.
    """
    ours: list[float] = []
    other: list[float] = []
    with new_folders() as new:
        for _ in range(2 if toy else ROUNDS + 1):
            ours.append(_loop_seconds(lambda: step(next(new))) / number)
            other.append(_seconds(bare) / number)
    return Row.of(ours[1:], other[1:], unit="s")


def _loop_seconds(step: Callable[[], object]) -> float:
    """Return the seconds of a step's longest loop with a progress bar: the one over its photos.

    Loading a network takes a third of a second, which is much beside a few dozen photos, and
    nothing beside a thousand.
    """
    found, shown = [], Runtime.progress

    @contextlib.contextmanager
    def timed(runtime: Runtime, *args: Any, **named: Any) -> Iterator[ProgressBar]:
        start = time.perf_counter()
        with shown(runtime, *args, **named) as bar:
            yield bar
        found.append(time.perf_counter() - start)

    with mock.patch.object(Runtime, "progress", timed), quiet():
        step()
    return max(found)


def predict_seconds(*, toy: bool) -> float:
    """Return the seconds of the segmentation network's forward pass per photo."""
    with tempfile.TemporaryDirectory() as folder:
        photos = predict_photos.write_photos(Path(folder) / "photos", 4 if toy else 32)
        net, segmenter = predict_photos.network()
        images = predict_photos.network_inputs(photos, segmenter)
    start = time.perf_counter()
    for image in images:
        predict_photos.forward(net, image)
    return (time.perf_counter() - start) / len(images)


def _median_seconds(function: Callable[[], None], *, toy: bool) -> float:
    return statistics.median(times(function, 1 if toy else 9))


def times(function: Callable[[], None], number: int) -> list[float]:
    """Return the seconds of several calls, after one that allocates and compiles."""
    function()
    return [_seconds(function) for _ in range(number)]


def _seconds(function: Callable[[], None]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
