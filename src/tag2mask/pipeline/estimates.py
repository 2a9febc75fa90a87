"""What a run will cost, before it starts: time, disk and memory of each step, roughly.

Plain arithmetic on the recipe, the number of photos and the sizes of some, with constants measured
on two cores of a current server processor (EfficientNet-Lite0, bf16), idle and beside other work.
Tests hold it to measured runs within a factor of two; expect more with networks that are not in
``_COST``, and some seconds a step where a network is built for a few steps only. Left out: a probe
run, which would take longer than it tells.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from tag2mask.artifacts.handles import (
    STEPS,
    AffinityLabels,
    AffinityModel,
    CamMaps,
    CamModel,
    Evaluation,
    Handle,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    ReportPage,
    SegmenterModel,
    WalkedMaps,
)
from tag2mask.errors import DataError
from tag2mask.recipe.schema import Recipe
from tag2mask.recipe.sections import Crf, Evaluate, Predict, PseudoMasks, RuntimeSettings
from tag2mask.recipe.training import TrainAffinity, TrainCam, TrainSegmenter
from tag2mask.runtime.threads import MAX_THREADS, SMALL_PIXELS, omp_threads, processors

if TYPE_CHECKING:
    from tag2mask.data.inventory import Inventory

SAMPLED_PHOTOS = 64
"""Photos whose size an estimate looks at, at most."""


def sampled_sizes(inventory: Inventory) -> list[tuple[int, int]]:
    """(h, w) px of some photos, evenly spaced, from their headers; none of unreadable ones."""
    from tag2mask.data.images import image_size

    photos = [entry.image for entry in inventory.entries if entry.image is not None]
    sizes = []
    for photo in photos[:: max(1, math.ceil(len(photos) / SAMPLED_PHOTOS))]:
        with suppress(DataError):  # prepare tells of it
            sizes.append(image_size(inventory.root / photo))
    return sizes


def counts(inventory: Inventory) -> tuple[int, int]:
    """Number of training and of validation photos."""
    train = sum(entry.split == "train" for entry in inventory.entries)
    return train, len(inventory.entries) - train


def step_costs(
    recipe: Recipe, inventory: Inventory, sizes: Sequence[tuple[int, int]]
) -> dict[str, Cost]:
    """What each step would cost on this machine, roughly, by name; see ``estimates.estimate``.

    Args:
        recipe: the settings.
        inventory: the photos.
        sizes: of some of them, as `sampled_sizes` gives them.
    """
    gpu = recipe.runtime.device == "cuda" or (
        recipe.runtime.device == "auto" and shutil.which("nvidia-smi") is not None
    )
    train, val = counts(inventory)
    return estimate(
        recipe, train=train, val=val, gpu=gpu, sizes=sizes, classes=len(inventory.class_names)
    )


_TRAIN_SECONDS_PER_MPX = 0.8
"""Forward and backward of 10^6 pixels, Lite0 at stride 16, two cores."""
_INFER_SECONDS_PER_MPX = 0.15
_TRAINING_GPU = 110.0
"""Speed of a GPU relative to two cores, in training; batches of many sizes gain less."""
_INFERENCE_GPU = 25.0
_STRIDE_COST = {8: 2.5, 16: 1.0, 32: 0.7}
_COST = {
    "tf_efficientnet_lite0": 1.0,
    "tf_efficientnet_lite1": 1.6,
    "tf_efficientnet_lite2": 2.1,
    "tf_efficientnet_lite3": 3.3,
    "tf_efficientnet_lite4": 5.5,
    "resnet18": 2.0,
    "resnet50": 5.0,
    "resnet38": 60.0,
}
"""Work per pixel relative to Lite0."""
_OTHER_COST = 5.0
_MDC_COST = 0.4
"""Work of an MDC head of four branches of 128 channels at stride 16, relative to Lite0."""
_PCM_COST = 0.4
_AFFINITY_COST = 0.7
"""Of AffinityNet's embeddings and the loss of its pairs."""
_DECODER_COST = 1.1
"""Work of DeepLabV3+'s decoder relative to a Lite0 encoder."""
_WEIGHT_MIB = {"tf_efficientnet_lite0": 14.0, "tf_efficientnet_lite2": 20.0, "resnet38": 480.0}
_OTHER_WEIGHT_MIB = 100.0
_START_SECONDS = 4.0
"""Until the first step: libraries, devices, networks that are tried."""
_TRAINING_START_SECONDS = 1.5
_BASE_MIB = 900.0
"""The libraries."""
_TRAIN_MIB_PER_MPX = 3000.0
_INFER_MIB_PER_MPX = 600.0
_ASSUMED_SIZE = (375, 500)
"""(h, w) px, where no photo's size is known."""
ASSUMED_CLASSES = 20
_TAGS_PER_PHOTO = 1.6
_CRF_SECONDS_PER_MPX = 0.4
"""Kernels of a dense CRF, reading and writing, one thread; more where they leave the caches."""
_CRF_STEP_SECONDS_PER_MPX = 0.03
"""An iteration."""
_CRF_MIB_PER_MPX = 220.0
_WALK_SECONDS = 0.08
"""Of a photo beside the network, two cores."""
_WALK_SECONDS_PER_STEP = 0.001
_GRID_SECONDS_PER_MPX = 0.04
"""A photo's maps enlarged from the network's grid to the stored one."""
_MASK_SECONDS_PER_MPX = 0.016
_LABEL_SECONDS_PER_MPX = 0.03
_EVALUATION_SECONDS_PER_MPX = 0.09
_EVALUATION_MIB_PER_MPX = 25.0
_READ_MIB_PER_MPX = 5.0
"""A photo at its own size and its labels."""
_MASK_KIB: dict[type[Handle], float] = {
    AffinityLabels: 11.0,
    PseudoMaskFolder: 4.8,
    Predictions: 8.0,
}
"""A palette PNG of 10^6 pixels; it grows as its contours do."""
_CONFIDENCE_MIB_PER_MPX = 0.32
_OVERLAY_MIB_PER_MPX = 0.4
_OVERLAY_SIDE = 1600
_PROBABILITY_BYTES = 0.3
"""Of one half float, compressed."""
_WALKED_BYTES = 0.6
"""Of a walked map's file relative to one before the walk."""


@dataclass(frozen=True)
class Cost:
    """An estimate.

    Attributes:
        seconds: wall clock.
        disk_mib: left in the run folder, MiB (a training also holds a checkpoint meanwhile, some
            three times its model).
        memory_mib: peak of the process (of the GPU, where there is one), MiB.
    """

    seconds: float
    disk_mib: float
    memory_mib: float


@dataclass(frozen=True)
class _Photos:
    """Photos as some of them are.

    Attributes:
        sizes: (h, w) px.
    """

    sizes: Sequence[tuple[int, int]]

    @property
    def largest(self) -> float:
        """Mpx of the largest."""
        return max(h * w for h, w in self.sizes) / 1e6

    def mean(self, work: Callable[[float], float] = lambda mpx: mpx) -> float:
        """Mean of what a photo of so many Mpx takes; of the Mpx themselves."""
        return fmean(work(h * w / 1e6) for h, w in self.sizes)

    def resized(self, long_side: int | None) -> float:
        """Mean Mpx at a long side, px; None: as they are."""
        if long_side is None:
            return self.mean()
        return fmean(long_side**2 * min(size) / max(size) / 1e6 for size in self.sizes)

    def shrunk(self, long_side: int | None) -> float:
        """Mean ratio of a long side to the photos' own, at most 1."""
        if long_side is None:
            return 1.0
        return fmean(min(1.0, long_side / max(size)) for size in self.sizes)


@dataclass(frozen=True)
class _Machine:
    """Where a run takes place.

    Attributes:
        threads: of the network on a CPU, of all its processes together.
        processors: that a step may use which works without the network.
        gpus: number of GPUs; 0: none.
    """

    threads: int
    processors: int
    gpus: int

    @classmethod
    def of(cls, settings: RuntimeSettings, *, gpu: bool) -> _Machine:
        threads = settings.threads or omp_threads()
        if threads and not gpu:
            threads *= settings.devices
        return cls(
            max(1, threads or processors()),
            min(processors(), MAX_THREADS),
            settings.devices if gpu else 0,
        )

    @property
    def training(self) -> float:
        """Speed of a training relative to two cores."""
        return _TRAINING_GPU * self.gpus if self.gpus else min(self.threads, 16) / 2

    @property
    def inference(self) -> float:
        """Speed of a network that is not trained, likewise."""
        return _INFERENCE_GPU * self.gpus if self.gpus else min(self.threads, 16) / 2

    @property
    def callers(self) -> int:
        """Photos that a network computes at once on a CPU."""
        return min(self.threads, MAX_THREADS)


def estimate(
    recipe: Recipe,
    *,
    train: int,
    val: int,
    gpu: bool,
    sizes: Sequence[tuple[int, int]] = (),
    classes: int = ASSUMED_CLASSES,
) -> dict[str, Cost]:
    """Estimate every step's cost.

    Args:
        recipe: the settings.
        train: number of training photos.
        val: number of validation photos.
        gpu: whether the network runs on a GPU.
        sizes: (h, w) px of some photos that stand for all; none: photos of 375 x 500 px.
        classes: number of foreground classes.

    Returns:
        Costs by the step's name, in order.
    """
    count = train + val
    mapped = (train if "train" in recipe.infer_cam.splits else 0) + (
        val if "val" in recipe.infer_cam.splits else 0
    )
    photos, machine = _Photos(sizes or [_ASSUMED_SIZE]), _Machine.of(recipe.runtime, gpu=gpu)
    costs: dict[type[Handle], Cost] = {
        PreparedData: Cost(_START_SECONDS + count * 0.00012, count * 0.0003, 150 + count * 0.002),
        CamModel: _cam_training(recipe.train_cam, train, machine),
        CamMaps: _inference(recipe, mapped, photos, machine),
        AffinityLabels: _affinity_labels(recipe.affinity_labels.crf, train, photos, machine),
        AffinityModel: _training(recipe.train_affinity, train, machine),
        WalkedMaps: _walk(recipe, mapped, photos, machine),
        PseudoMaskFolder: _masks(recipe.pseudo_masks, mapped, photos, machine),
        SegmenterModel: _segmenter_training(recipe.train_segmenter, train, machine),
        Predictions: _prediction(recipe, train, val, photos, machine, classes),
        Evaluation: _evaluation(recipe.evaluate, mapped, photos, machine),
        ReportPage: Cost(1.5, 0.5 * recipe.report.photos, _BASE_MIB),
    }
    return {kind.step: costs[kind] for kind in STEPS}


def training_steps(section: TrainCam | TrainAffinity | TrainSegmenter, photos: int) -> int:
    """Number of optimizer steps over ``photos`` training photos."""
    batches = section.epochs * max(1, photos // section.batch_size)
    steps = max(1, batches // section.optimizer.accumulate)
    return steps if section.max_steps is None else min(steps, section.max_steps)


def _training(section: TrainCam | TrainAffinity, photos: int, machine: _Machine) -> Cost:
    backbone = section.backbone
    views = 1.0
    if isinstance(section, TrainCam) and section.views.enabled:
        low, high = section.views.scale
        views += ((low + high) / 2) ** 2
    mpx = section.batch_size * section.crop**2 / 1e6 * views
    work = _work(backbone.name, backbone.output_stride) + _head_work(section)
    return _fitted(section, photos, mpx, work, backbone.name, machine)


def _fitted(
    section: TrainCam | TrainAffinity | TrainSegmenter,
    photos: int,
    mpx: float,
    work: float,
    backbone: str,
    machine: _Machine,
) -> Cost:
    """Of one training, with batches of so many Mpx and so much work a pixel."""
    batches = training_steps(section, photos) * section.optimizer.accumulate
    weights = _WEIGHT_MIB.get(backbone, _OTHER_WEIGHT_MIB)
    seconds = batches * mpx * work * _TRAIN_SECONDS_PER_MPX / machine.training
    return Cost(
        seconds=_TRAINING_START_SECONDS + seconds,
        disk_mib=weights + 1,
        memory_mib=_BASE_MIB + 4 * weights + mpx * _TRAIN_MIB_PER_MPX * _activations(work),
    )


def _cam_training(section: TrainCam, photos: int, machine: _Machine) -> Cost:
    own = _training(section, photos, machine)
    if not section.warm_start:
        return own
    plain = _training(section.plain_start(), photos, machine)
    return Cost(own.seconds + plain.seconds, own.disk_mib + plain.disk_mib, own.memory_mib)


def _segmenter_training(section: TrainSegmenter, photos: int, machine: _Machine) -> Cost:
    """Later rounds take as long as the first one, and draw the masks that they learn from."""
    mpx = section.batch_size * section.crop**2 / 1e6
    one = _fitted(section, photos, mpx, _segmenter_work(section), section.network.encoder, machine)
    return Cost(section.rounds * one.seconds, section.rounds * one.disk_mib, one.memory_mib)


def _segmenter_work(section: TrainSegmenter) -> float:
    network = section.network
    return _work(network.encoder, network.output_stride) + _DECODER_COST


def _inference(recipe: Recipe, count: int, photos: _Photos, machine: _Machine) -> Cost:
    section, backbone = recipe.infer_cam, recipe.train_cam.backbone
    scale_one = photos.resized(section.long_side)
    views = sum(scale**2 for scale in section.scales) * (2 if section.flip else 1)
    work = _work(backbone.name, backbone.output_stride) + _head_work(recipe.train_cam)
    weights = _WEIGHT_MIB.get(backbone.name, _OTHER_WEIGHT_MIB)
    largest = max(section.scales) ** 2 * (
        photos.largest if section.long_side is None else scale_one
    )
    at_once = section.batch_views
    if not machine.gpus:  # each thread holds a photo's views of one size
        at_once = min(at_once, 2 if section.flip else 1) * _at_once(largest, machine.callers)
    return Cost(
        seconds=2 + count * scale_one * views * work * _INFER_SECONDS_PER_MPX / machine.inference,
        disk_mib=count
        * _map_bytes(photos, section.long_side, section.map_stride, section.map_dtype)
        / 2**20,
        memory_mib=_BASE_MIB
        + weights
        + recipe.train_cam.pcm.block_mib
        + largest * at_once * _INFER_MIB_PER_MPX * _activations(work),
    )


def _walk(recipe: Recipe, count: int, photos: _Photos, machine: _Machine) -> Cost:
    section, backbone = recipe.walk, recipe.train_affinity.backbone
    mpx = photos.resized(section.long_side)
    work = _work(backbone.name, backbone.output_stride)
    network = mpx * sum(scale**2 for scale in section.scales) * work * _INFER_SECONDS_PER_MPX
    # The rest is of one photo at a time, so that many cores are of little use.
    rest = (
        _WALK_SECONDS
        + section.steps * _WALK_SECONDS_PER_STEP
        + photos.mean() * _GRID_SECONDS_PER_MPX
    ) / min(machine.processors / 2, 2)
    weights = _WEIGHT_MIB.get(backbone.name, _OTHER_WEIGHT_MIB)
    largest = max(section.scales) ** 2 * (photos.largest if section.long_side is None else mpx)
    return Cost(
        seconds=1 + count * (network / machine.inference + rest),
        disk_mib=count
        * _WALKED_BYTES
        * _map_bytes(photos, section.long_side, section.map_stride, section.map_dtype)
        / 2**20,
        memory_mib=_BASE_MIB + weights + largest * _INFER_MIB_PER_MPX * _activations(work),
    )


def _affinity_labels(crf: Crf, count: int, photos: _Photos, machine: _Machine) -> Cost:
    return Cost(
        1 + count * _crf_seconds(crf, photos, machine, crfs=2),
        count * _mask_mib(AffinityLabels, photos),
        _crf_memory(photos, machine),
    )


def _crf_seconds(
    crf: Crf, photos: _Photos, machine: _Machine, *, crfs: int, most: float = float("inf")
) -> float:
    """Of some dense CRFs of one photo, shrunk to ``most`` Mpx; a GPU doesn't help."""
    steps = crfs * crf.iterations * _CRF_STEP_SECONDS_PER_MPX

    def one(mpx: float) -> float:
        mpx = min(mpx, most)
        return mpx * (_CRF_SECONDS_PER_MPX * math.pow(max(1.0, mpx), 0.7) + steps)

    return photos.mean(one) / machine.processors


def _crf_memory(photos: _Photos, machine: _Machine, most: float = float("inf")) -> float:
    largest = min(photos.largest, most)
    return _BASE_MIB + largest * _at_once(largest, machine.processors) * _CRF_MIB_PER_MPX


def _masks(section: PseudoMasks, count: int, photos: _Photos, machine: _Machine) -> Cost:
    seconds = 0.1 + count * photos.mean() * _MASK_SECONDS_PER_MPX
    disk = _mask_mib(PseudoMaskFolder, photos)
    if section.confidence:
        disk += photos.mean() * _CONFIDENCE_MIB_PER_MPX
    if not section.crf.enabled:
        return Cost(seconds, count * disk, _BASE_MIB)
    return Cost(
        seconds + count * _crf_seconds(section.crf, photos, machine, crfs=1),
        count * disk,
        _crf_memory(photos, machine),
    )


def _prediction(
    recipe: Recipe, train: int, val: int, photos: _Photos, machine: _Machine, classes: int
) -> Cost:
    section, trained = recipe.predict, recipe.train_segmenter
    count = (train if "train" in section.splits else 0) + (val if "val" in section.splits else 0)
    sides = {"trained": trained.long_side, "photo": None}
    side = section.long_side if isinstance(section.long_side, int) else sides[section.long_side]
    grid = photos.resized(side)
    views = sum(scale**2 for scale in section.scales) * (2 if section.flip else 1)
    work = _segmenter_work(trained)
    view = max(section.scales) ** 2 * (photos.largest if side is None else grid)
    tile = section.tile**2 / 1e6
    if view > tile:
        views *= (section.tile / (section.tile - min(section.overlap, section.tile // 2))) ** 2
    seconds = 0.003 + grid * views * work * _INFER_SECONDS_PER_MPX / machine.inference
    seconds += photos.mean() * _LABEL_SECONDS_PER_MPX
    memory = _BASE_MIB + photos.largest * _READ_MIB_PER_MPX
    memory += (
        min(view, tile)
        * (section.batch_size if machine.gpus else machine.callers)
        * _INFER_MIB_PER_MPX
        * _activations(work)
    )
    if section.crf.enabled:
        seen = SMALL_PIXELS / 1e6  # what it sees of a larger photo
        seconds += _crf_seconds(section.crf, photos, machine, crfs=1, most=seen)
        memory = max(memory, _crf_memory(photos, machine, seen))
    return Cost(
        1.5 + count * seconds, count * _prediction_mib(section, photos, grid, classes), memory
    )


def _prediction_mib(section: Predict, photos: _Photos, grid: float, classes: int) -> float:
    """Of a photo's files, with probabilities on a grid of so many Mpx."""
    disk = _mask_mib(Predictions, photos)
    if section.overlays:
        disk += min(photos.mean(), photos.resized(_OVERLAY_SIDE)) * _OVERLAY_MIB_PER_MPX
    if section.confidence:
        disk += photos.mean() * _CONFIDENCE_MIB_PER_MPX
    if section.probabilities:
        disk += grid * 1e6 * (classes + 1) * _PROBABILITY_BYTES / 2**20
    return disk


def _evaluation(section: Evaluate, count: int, photos: _Photos, machine: _Machine) -> Cost:
    def one(mpx: float) -> float:
        return mpx * _EVALUATION_SECONDS_PER_MPX * math.pow(max(1.0, mpx), 0.3)

    seconds = 0.6 + count * photos.mean(one) * 2 / machine.processors
    memory = _BASE_MIB + photos.largest * 2 * machine.processors * _EVALUATION_MIB_PER_MPX
    disk = 0.2 + count * 0.0004
    if not section.crf.enabled:
        return Cost(seconds, disk, memory)
    return Cost(
        seconds + count * _crf_seconds(section.crf, photos, machine, crfs=1),
        disk + count * _mask_mib(PseudoMaskFolder, photos),
        max(memory, _crf_memory(photos, machine)),
    )


def _work(backbone: str, output_stride: int) -> float:
    """Of a backbone on a pixel, relative to Lite0 at stride 16."""
    return _COST.get(backbone, _OTHER_COST) * _STRIDE_COST[output_stride]


def _head_work(section: TrainCam | TrainAffinity) -> float:
    """Of what comes after the backbone, likewise; 1x1 convolutions take next to nothing."""
    if not isinstance(section, TrainCam):
        return _AFFINITY_COST
    pcm = _PCM_COST if section.pcm.enabled else 0.0
    if section.head != "mdc":
        return pcm
    cells = (16 / section.backbone.output_stride) ** 2
    return pcm + _MDC_COST * cells * len(section.mdc_rates) * section.mdc_channels / 512


def _map_bytes(photos: _Photos, long_side: int | None, stride: int, dtype: str) -> float:
    """Of a photo's map file; the smoother a map, the smaller is its file."""
    stored = photos.mean() * 1e6 / stride**2 * _TAGS_PER_PHOTO
    stored *= math.pow(photos.shrunk(long_side), 0.7)
    return stored * (2 if dtype == "float16" else 1) + 1000


def _mask_mib(step: type[Handle], photos: _Photos) -> float:
    return photos.mean(math.sqrt) * _MASK_KIB[step] / 1024


def _at_once(mpx: float, threads: int) -> int:
    """Photos of so many Mpx that are worked on side by side."""
    return threads if mpx * 1e6 <= SMALL_PIXELS else 1


def _activations(work: float) -> float:
    """Activations grow far slower than the arithmetic does."""
    return float(work**0.4)
