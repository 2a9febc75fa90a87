"""What a run will cost, before it starts: time, disk and memory of each step, roughly.

Plain arithmetic on the recipe and the number of photos, with constants measured on two cores of a
current server processor (EfficientNet-Lite0, 224 px). Expect a factor of two either way, more with
networks that are not in ``_COST``. Left out: a probe run, which would take longer than it tells.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from tag2mask.ops.parallel import MOST_THREADS
from tag2mask.recipe import Recipe
from tag2mask.sections import Crf, Evaluate, InferCam, PseudoMasks
from tag2mask.training_sections import TrainAffinity, TrainCam, TrainSegmenter

_TRAIN_SECONDS_PER_MPX = 2.2
"""Forward and backward of 10^6 pixels, Lite0 at stride 16, two cores."""
_INFER_SECONDS_PER_MPX = 0.7
_GPU_SPEEDUP = 40.0
_STRIDE_COST = {8: 2.5, 16: 1.0, 32: 0.7}
_COST = {
    "tf_efficientnet_lite0": 1.0, "tf_efficientnet_lite1": 1.6, "tf_efficientnet_lite2": 2.1,
    "tf_efficientnet_lite3": 3.3, "tf_efficientnet_lite4": 5.5, "resnet18": 2.0, "resnet50": 5.0,
    "resnet38": 60.0,
}  # fmt: skip
"""Work per pixel relative to Lite0."""
_OTHER_COST = 5.0
_MDC_COST = 0.4
"""Work of an MDC head of four branches of 128 channels at stride 16, relative to Lite0."""
_WEIGHT_MIB = {"tf_efficientnet_lite0": 14.0, "tf_efficientnet_lite2": 20.0, "resnet38": 480.0}
_OTHER_WEIGHT_MIB = 100.0
_BASE_MIB = 700.0
"""The libraries."""
_TRAIN_MIB_PER_MPX = 3000.0
_INFER_MIB_PER_MPX = 600.0
_ASSUMED_LONG_SIDE = 500
"""Of a photo whose size the recipe leaves alone, px."""
_ASPECT = 0.75
_TAGS_PER_PHOTO = 1.6
_CRF_SECONDS = 0.005
"""An iteration of the dense CRF on a photo of that size, two cores, kernels included."""
_CRF_MIB = 60.0
"""What a dense CRF holds of such a photo, by thread."""
_WALK_SECONDS_PER_STEP = 0.0002
_DECODER_COST = 0.8
"""Work of DeepLabV3+'s decoder relative to a Lite0 encoder."""


@dataclass(frozen=True)
class Cost:
    """An estimate.

    Attributes:
        seconds: wall clock.
        disk_mib: written to the run folder, MiB.
        memory_mib: peak of the process (of the GPU, where there is one), MiB.
    """

    seconds: float
    disk_mib: float
    memory_mib: float


def estimate(recipe: Recipe, *, train: int, val: int, gpu: bool) -> dict[str, Cost]:
    """Estimate every step's cost.

    Args:
        recipe: the settings.
        train: number of training photos.
        val: number of validation photos.
        gpu: whether the network runs on a GPU.

    Returns:
        Costs by the step's name, in order.
    """
    photos = train + val
    mapped = (train if "train" in recipe.infer_cam.splits else 0) + (
        val if "val" in recipe.infer_cam.splits else 0)
    speed = _speed(gpu, recipe.runtime.devices)
    return {
        "prepare": Cost(1 + photos * 0.001, photos * 0.0004, 150 + photos * 0.002),
        "train-cam": _cam_training(recipe.train_cam, train, speed),
        "infer-cam": _inference(recipe, mapped, speed),
        "affinity-labels": _crf_cost(recipe.affinity_labels.crf, train, crfs=2),
        "train-affinity": _training(recipe.train_affinity, train, speed),
        "walk": _walk(recipe, mapped, speed),
        "pseudo-masks": _masks(recipe.pseudo_masks, mapped),
        "train-segmenter": _segmenter_training(recipe.train_segmenter, train, speed),
        "predict": _prediction(recipe, train, val, speed),
        "evaluate": _evaluation(recipe.evaluate, mapped),
        "report": Cost(10, 5, _BASE_MIB),
    }


def training_steps(section: TrainCam | TrainAffinity | TrainSegmenter, photos: int) -> int:
    """Number of optimiser steps over ``photos`` training photos."""
    batches = section.epochs * max(1, photos // section.batch_size)
    steps = max(1, batches // section.optimiser.accumulate)
    return steps if section.max_steps is None else min(steps, section.max_steps)


def _training(section: TrainCam | TrainAffinity, photos: int, speed: float) -> Cost:
    backbone = section.backbone
    views = 1.0
    if isinstance(section, TrainCam) and section.views.enabled:
        low, high = section.views.scale
        views += ((low + high) / 2) ** 2
    mpx = section.batch_size * section.crop**2 / 1e6 * views
    work = _work(backbone.name, backbone.output_stride) + _head_work(section)
    batches = training_steps(section, photos) * section.optimiser.accumulate
    weights = _WEIGHT_MIB.get(backbone.name, _OTHER_WEIGHT_MIB)
    return Cost(
        seconds=10 + batches * mpx * work * _TRAIN_SECONDS_PER_MPX / speed,
        disk_mib=weights * 4 + 5,  # the model, and a checkpoint with the optimiser's moments
        memory_mib=_BASE_MIB + 4 * weights + mpx * _TRAIN_MIB_PER_MPX * _activations(work),
    )


def _cam_training(section: TrainCam, photos: int, speed: float) -> Cost:
    own = _training(section, photos, speed)
    if not section.warm_start:
        return own
    plain = _training(section.plain_start(), photos, speed)
    return Cost(own.seconds + plain.seconds, own.disk_mib + plain.disk_mib, own.memory_mib)


def _segmenter_training(section: TrainSegmenter, photos: int, speed: float) -> Cost:
    """Of one round; later ones take as long each, and draw the masks that they learn from."""
    mpx = section.batch_size * section.crop**2 / 1e6
    work = _segmenter_work(section)
    batches = training_steps(section, photos) * section.optimiser.accumulate
    weights = _WEIGHT_MIB.get(section.network.encoder, _OTHER_WEIGHT_MIB)
    return Cost(
        seconds=10 + section.rounds * batches * mpx * work * _TRAIN_SECONDS_PER_MPX / speed,
        disk_mib=section.rounds * (weights * 4 + 5),
        memory_mib=_BASE_MIB + 4 * weights + mpx * _TRAIN_MIB_PER_MPX * _activations(work),
    )


def _prediction(recipe: Recipe, train: int, val: int, speed: float) -> Cost:
    section, trained = recipe.predict, recipe.train_segmenter
    photos = (train if "train" in section.splits else 0) + (val if "val" in section.splits else 0)
    sides = {"trained": trained.long_side or _ASSUMED_LONG_SIDE, "photo": _ASSUMED_LONG_SIDE}
    side = section.long_side if isinstance(section.long_side, int) else sides[section.long_side]
    mpx = side**2 * _ASPECT / 1e6
    views = sum(scale**2 for scale in section.scales) * (2 if section.flip else 1)
    work = _segmenter_work(trained)
    seconds = photos * (0.02 + mpx * views * work * _INFER_SECONDS_PER_MPX / speed)
    if section.crf.enabled:
        seconds += _crf_cost(section.crf, photos, crfs=1).seconds
    largest = min(mpx * max(section.scales) ** 2, section.tile**2 / 1e6) * section.batch_size
    return Cost(5 + seconds, photos * 0.008,
                _BASE_MIB + largest * _INFER_MIB_PER_MPX * _activations(work))


def _segmenter_work(section: TrainSegmenter) -> float:
    network = section.network
    return _work(network.encoder, network.output_stride) + _DECODER_COST


def _inference(recipe: Recipe, photos: int, speed: float) -> Cost:
    section: InferCam = recipe.infer_cam
    backbone = recipe.train_cam.backbone
    long_side = section.long_side or _ASSUMED_LONG_SIDE
    scale_one = long_side**2 * _ASPECT / 1e6
    views = sum(scale**2 for scale in section.scales) * (2 if section.flip else 1)
    work = _work(backbone.name, backbone.output_stride) + _head_work(recipe.train_cam)
    # On a CPU each thread holds a photo's views of one size.
    at_once = max(section.batch_views, MOST_THREADS)
    largest = scale_one * max(section.scales) ** 2 * at_once
    weights = _WEIGHT_MIB.get(backbone.name, _OTHER_WEIGHT_MIB)
    return Cost(
        seconds=5 + photos * scale_one * views * work * _INFER_SECONDS_PER_MPX / speed,
        disk_mib=photos * _map_bytes(section.map_stride, section.map_dtype) / 2**20,
        memory_mib=_BASE_MIB + weights + recipe.train_cam.pcm.block_mib
        + largest * _INFER_MIB_PER_MPX * _activations(work),
    )


def _walk(recipe: Recipe, photos: int, speed: float) -> Cost:
    section, backbone = recipe.walk, recipe.train_affinity.backbone
    mpx = (section.long_side or _ASSUMED_LONG_SIDE) ** 2 * _ASPECT / 1e6
    work = _work(backbone.name, backbone.output_stride)
    network = mpx * sum(scale**2 for scale in section.scales) * work * _INFER_SECONDS_PER_MPX
    weights = _WEIGHT_MIB.get(backbone.name, _OTHER_WEIGHT_MIB)
    return Cost(
        seconds=5 + photos * (network / speed + section.steps * _WALK_SECONDS_PER_STEP + 0.01),
        disk_mib=photos * _map_bytes(section.map_stride, section.map_dtype) / 2**20,
        memory_mib=_BASE_MIB + weights
        + mpx * max(section.scales) ** 2 * _INFER_MIB_PER_MPX * _activations(work),
    )


def _crf_cost(crf: Crf, photos: int, *, crfs: int) -> Cost:
    """Of palette PNGs that some dense CRFs of each photo decide on; a GPU doesn't help."""
    seconds = photos * (0.02 + crfs * (crf.iterations + 2) * _CRF_SECONDS)
    threads = min(os.cpu_count() or 2, 8)
    return Cost(2 + seconds * 2 / threads, photos * 0.008, _BASE_MIB + threads * _CRF_MIB)


def _masks(section: PseudoMasks, photos: int) -> Cost:
    plain = Cost(1 + photos * 0.03, photos * (0.06 if section.confidence else 0.008), _BASE_MIB)
    if not section.crf.enabled:
        return plain
    crf = _crf_cost(section.crf, photos, crfs=1)
    return Cost(plain.seconds + crf.seconds, plain.disk_mib, crf.memory_mib)


def _evaluation(section: Evaluate, photos: int) -> Cost:
    plain = Cost(2 + photos * 0.06, 1, _BASE_MIB)
    if not section.crf.enabled:
        return plain
    crf = _crf_cost(section.crf, photos, crfs=1)
    return Cost(plain.seconds + crf.seconds, plain.disk_mib + crf.disk_mib, crf.memory_mib)


def _work(backbone: str, output_stride: int) -> float:
    """Of a backbone on a pixel, relative to Lite0 at stride 16."""
    return _COST.get(backbone, _OTHER_COST) * _STRIDE_COST[output_stride]


def _head_work(section: TrainCam | TrainAffinity) -> float:
    """Of the head, likewise; one of 1x1 convolutions takes next to nothing."""
    if not isinstance(section, TrainCam) or section.head != "mdc":
        return 0.0
    cells = (16 / section.backbone.output_stride) ** 2
    return _MDC_COST * cells * len(section.mdc_rates) * section.mdc_channels / 512


def _map_bytes(stride: int, dtype: str) -> float:
    """Of a photo's map file."""
    stored = _ASSUMED_LONG_SIDE**2 * _ASPECT / stride**2 * _TAGS_PER_PHOTO
    return stored * (2 if dtype == "float16" else 1) + 1000


def _activations(work: float) -> float:
    """Activations grow far slower than the arithmetic does."""
    return float(work**0.4)


def _speed(gpu: bool, devices: int) -> float:
    """Speed relative to two cores."""
    if gpu:
        return _GPU_SPEEDUP * devices
    return min(os.cpu_count() or 2, 16) / 2
