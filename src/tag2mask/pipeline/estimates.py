"""Rough cost of each step before a run starts: time, disk and memory.

Arithmetic on the recipe, the number of photos and the sizes of some, with the constants of
``cost_model``. Tests compare the estimates with measured runs within a factor of two; expect larger
errors with backbones that were not measured.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from tag2mask.artifacts.handles import (
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
from tag2mask.artifacts.step_table import STEPS
from tag2mask.errors import DataError
from tag2mask.pipeline.cost_model import (
    ATTENTION_BYTES,
    BASE_MIB,
    CONFIDENCE_MIB,
    EVALUATION_SECONDS,
    GRID_SECONDS,
    INFER_MIB,
    INFER_SECONDS,
    INFERENCE_GPU,
    LABEL_SECONDS,
    MARGINALS_MIB,
    MASK_SECONDS,
    OTHER_WEIGHT_MIB,
    OVERLAY_MIB,
    PROBABILITY_BYTES,
    READ_MIB,
    SCORE_MIB,
    START_SECONDS,
    WALK_SECONDS,
    WALK_STEP_SECONDS,
    WALKED_BYTES,
    WEIGHT_MIB,
    Cost,
    Machine,
    PhotoSizes,
    activation_growth,
    backbone_work,
    cam_work,
    crf_cost,
    file_seconds,
    map_mib,
    mask_mib,
    on_disk,
    photos_at_once,
    segmenter_work,
)
from tag2mask.pipeline.training_costs import affinity_training, cam_training, segmenter_training
from tag2mask.recipe.schema import Recipe
from tag2mask.runtime.threads import MAX_THREADS, SMALL_PIXELS

if TYPE_CHECKING:
    from tag2mask.data.inventory import Inventory

SAMPLED_PHOTOS = 64
"""Photos whose sizes are read, at most."""
_ASSUMED_SIZE = (375, 500)
"""(h, w) px, where no size is known."""


def sampled_sizes(inventory: Inventory) -> list[tuple[int, int]]:
    """Read (h, w) px of some evenly spaced photos from their headers; skips unreadable ones."""
    from tag2mask.data.images import image_size

    photos = [entry.image for entry in inventory.entries if entry.image is not None]
    sizes = []
    for photo in photos[:: max(1, math.ceil(len(photos) / SAMPLED_PHOTOS))]:
        with suppress(DataError):  # prepare reports it
            sizes.append(image_size(inventory.root / photo))
    return sizes


def counts(inventory: Inventory) -> tuple[int, int]:
    """Return the numbers of training and of validation photos."""
    train = sum(entry.split == "train" for entry in inventory.entries)
    return train, len(inventory.entries) - train


def step_costs(
    recipe: Recipe, inventory: Inventory, sizes: Sequence[tuple[int, int]]
) -> dict[str, Cost]:
    """Estimate every step's cost on this machine, by name; see ``estimate``.

    Args:
        recipe: the settings.
        inventory: the photos.
        sizes: of some of them, as ``sampled_sizes`` returns them.
    """
    gpu = recipe.runtime.device == "cuda" or (
        recipe.runtime.device == "auto" and shutil.which("nvidia-smi") is not None
    )
    train, val = counts(inventory)
    return estimate(
        recipe, train=train, val=val, gpu=gpu, sizes=sizes, classes=len(inventory.class_names)
    )


def estimate(
    recipe: Recipe,
    *,
    train: int,
    val: int,
    gpu: bool,
    sizes: Sequence[tuple[int, int]] = (),
    classes: int = 20,
) -> dict[str, Cost]:
    """Estimate every step's cost.

    Args:
        recipe: the settings.
        train: number of training photos.
        val: number of validation photos.
        gpu: whether the network runs on a GPU.
        sizes: (h, w) px of some representative photos; none: photos of 375 x 500 px.
        classes: number of foreground classes.

    Returns:
        Costs by the step's name, in order.
    """
    splits = {"train": train, "val": val}
    given = recipe.masks is not None
    mapped = sum(splits[split] for split in (splits if given else recipe.infer_cam.splits))
    predicted = sum(splits[split] for split in recipe.predict.splits)
    photos, machine = PhotoSizes(sizes or [_ASSUMED_SIZE]), Machine.of(recipe.runtime, gpu=gpu)
    count = train + val
    costs: dict[type[Handle], Cost] = {
        PreparedData: Cost(START_SECONDS + count * 0.00012, count * 0.0003, 150 + count * 0.002),
        CamModel: cam_training(recipe.train_cam, train, photos, machine, classes),
        CamMaps: _inference(recipe, mapped, photos, machine),
        AffinityLabels: _affinity_labels(recipe, train, photos, machine),
        AffinityModel: affinity_training(recipe.train_affinity, train, machine),
        WalkedMaps: _walk(recipe, mapped, photos, machine),
        PseudoMaskFolder: _masks(recipe, mapped, photos, machine),
        SegmenterModel: segmenter_training(recipe.train_segmenter, train, machine),
        Predictions: _prediction(recipe, predicted, photos, machine, classes),
        Evaluation: _evaluation(recipe, mapped, photos, machine),
        ReportPage: Cost(1.5, 0.5 * recipe.report.photos, BASE_MIB),
    }
    return {kind.step: costs[kind] for kind in STEPS}


def _inference(recipe: Recipe, count: int, photos: PhotoSizes, machine: Machine) -> Cost:
    section, model = recipe.infer_cam, recipe.train_cam
    mpx, work = photos.resized(section.long_side), cam_work(model)
    views = sum(scale**2 for scale in section.scales) * (2 if section.flip else 1)
    seconds = mpx * views * work * INFER_SECONDS / machine.speed(INFERENCE_GPU)
    files = file_seconds(photos, machine)
    largest = max(section.scales) ** 2 * (photos.largest if section.long_side is None else mpx)
    if section.tile is not None and largest > section.tile**2 / 1e6:
        largest, seconds = section.tile**2 / 1e6, seconds * (8 / 7) ** 2
    at_once = section.batch_views
    if not machine.gpus:  # each thread computes a photo's views of one size
        at_once = min(at_once, 2 if section.flip else 1)
        at_once *= photos_at_once(largest, min(machine.threads, MAX_THREADS))
    return Cost(
        2 + count * (seconds + files),
        count * on_disk(map_mib(photos, section.long_side, section.map_stride, section.map_dtype)),
        BASE_MIB
        + WEIGHT_MIB.get(model.backbone.name, OTHER_WEIGHT_MIB)
        + model.pcm.block_mib
        + largest * at_once * INFER_MIB * activation_growth(work),
    )


def _affinity_labels(recipe: Recipe, count: int, photos: PhotoSizes, machine: Machine) -> Cost:
    crf = crf_cost(recipe.affinity_labels.crf, count, photos, machine, per_photo=2)
    disk = on_disk(mask_mib(AffinityLabels, photos))
    if recipe.affinity_labels.behavior == "published":
        disk += on_disk(photos.mean() * MARGINALS_MIB)
    return Cost(1 + crf.seconds, count * disk, crf.memory_mib)


def _walk(recipe: Recipe, count: int, photos: PhotoSizes, machine: Machine) -> Cost:
    section = recipe.walk
    by_attention = section.affinity == "attention"
    backbone = (recipe.train_cam if by_attention else recipe.train_affinity).backbone
    mpx, work = (
        photos.resized(section.long_side),
        backbone_work(backbone.name, backbone.likely_stride),
    )
    network = mpx * sum(scale**2 for scale in section.scales) * work * INFER_SECONDS
    walk = WALK_SECONDS + section.steps * WALK_STEP_SECONDS + photos.mean() * GRID_SECONDS
    walk /= machine.photo_speed
    largest = max(section.scales) ** 2 * (photos.largest if section.long_side is None else mpx)
    pairs = (largest * 1e6 / backbone.likely_stride**2) ** 2 if by_attention else 0.0
    stored = map_mib(photos, section.long_side, section.map_stride, section.map_dtype)
    return Cost(
        1 + count * (network / machine.speed(INFERENCE_GPU) + walk),
        count * on_disk(WALKED_BYTES * stored),
        BASE_MIB
        + pairs * ATTENTION_BYTES / 2**20
        + WEIGHT_MIB.get(backbone.name, OTHER_WEIGHT_MIB)
        + largest * INFER_MIB * activation_growth(work),
    )


def _masks(recipe: Recipe, count: int, photos: PhotoSizes, machine: Machine) -> Cost:
    section = recipe.pseudo_masks
    seconds = 0.1 + count * photos.mean() * MASK_SECONDS
    disk = on_disk(mask_mib(PseudoMaskFolder, photos))
    if section.confidence:
        disk += on_disk(photos.mean() * CONFIDENCE_MIB)
    if section.overlays:
        disk += on_disk(min(photos.mean(), 2.0) * OVERLAY_MIB)
    if not section.crf.enabled:
        return Cost(seconds, count * disk, BASE_MIB)
    crf = crf_cost(section.crf, count, photos, machine)
    return Cost(seconds + crf.seconds, count * disk, crf.memory_mib)


def _prediction(
    recipe: Recipe, count: int, photos: PhotoSizes, machine: Machine, classes: int
) -> Cost:
    section, trained = recipe.predict, recipe.train_segmenter
    side = section.side(trained.long_side)
    mpx, work = photos.resized(side), segmenter_work(trained)
    views = sum(scale**2 for scale in section.scales) * (2 if section.flip else 1)
    largest = max(section.scales) ** 2 * (photos.largest if side is None else mpx)
    if largest > section.tile**2 / 1e6:
        views *= (section.tile / (section.tile - min(section.overlap, section.tile // 2))) ** 2
    at_once = section.batch_size if machine.gpus else min(machine.threads, MAX_THREADS)
    seconds = 0.003 + mpx * views * work * INFER_SECONDS / machine.speed(INFERENCE_GPU)
    seconds = 1.5 + count * (seconds + photos.mean() * LABEL_SECONDS)
    memory = BASE_MIB + photos.largest * READ_MIB
    memory += min(largest, section.tile**2 / 1e6) * at_once * INFER_MIB * activation_growth(work)
    if section.crf.enabled:  # on a reduced image where the photo is large
        crf = crf_cost(section.crf, count, photos, machine, most=SMALL_PIXELS / 1e6)
        seconds, memory = seconds + crf.seconds, max(memory, crf.memory_mib)
    disk = on_disk(mask_mib(Predictions, photos))
    disk += on_disk(photos.mean() * CONFIDENCE_MIB) if section.confidence else 0.0
    disk += on_disk(min(photos.mean(), 2.0) * OVERLAY_MIB) if section.overlays else 0.0
    if section.probabilities:
        disk += on_disk(mpx * 1e6 * (classes + 1) * PROBABILITY_BYTES / 2**20)
    return Cost(seconds, count * disk, memory)


def _evaluation(recipe: Recipe, count: int, photos: PhotoSizes, machine: Machine) -> Cost:
    crf_settings = recipe.evaluate.crf
    seconds = photos.mean(lambda mpx: mpx * math.pow(max(1.0, mpx), 0.3)) * EVALUATION_SECONDS
    seconds = 0.6 + count * seconds * 2 / machine.processors
    memory = BASE_MIB + photos.largest * 2 * machine.processors * SCORE_MIB
    disk = 0.2 + count * 0.0004
    if crf_settings.enabled:
        crf = crf_cost(crf_settings, count, photos, machine)
        seconds, memory = seconds + crf.seconds, max(memory, crf.memory_mib)
        disk += count * on_disk(mask_mib(PseudoMaskFolder, photos))
    return Cost(seconds, disk, memory)
