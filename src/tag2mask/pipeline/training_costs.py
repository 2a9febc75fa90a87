"""Rough cost of each training before a run starts: time, disk and memory."""

from __future__ import annotations

from tag2mask.pipeline.cost_model import (
    AFFINITY_WORK,
    BASE_MIB,
    CHECKPOINTED,
    FEATURE_MIB,
    HEAD_SECONDS,
    INFER_MIB,
    INFER_SECONDS,
    INFERENCE_GPU,
    OTHER_WEIGHT_MIB,
    TRAIN_MIB,
    TRAIN_SECONDS,
    TRAINING_GPU,
    WEIGHT_MIB,
    Cost,
    Machine,
    PhotoSizes,
    activation_growth,
    backbone_work,
    cam_work,
    file_seconds,
    on_disk,
    segmenter_training_work,
)
from tag2mask.recipe.train_segmenter import TrainSegmenter
from tag2mask.recipe.training import HELD_OUT, TrainAffinity, TrainCam
from tag2mask.training.sampler import epochs_to_steps, steps_per_epoch


def training_steps(section: TrainCam | TrainAffinity | TrainSegmenter, photos: int) -> int:
    """Return the number of optimizer steps over ``photos`` training photos."""
    per_epoch = steps_per_epoch(photos, section.batch_size)
    return epochs_to_steps(
        section.epochs, per_epoch, section.optimizer.accumulate, section.max_steps
    )


def _training(
    section: TrainCam | TrainAffinity | TrainSegmenter,
    photos: int,
    machine: Machine,
    *,
    backbone: str,
    work: float,
    views: float = 1.0,
) -> Cost:
    batches = training_steps(section, photos) * section.optimizer.accumulate
    mpx = section.batch_size * section.crop**2 / 1e6 * views
    weights = WEIGHT_MIB.get(backbone, OTHER_WEIGHT_MIB)
    seconds = batches * mpx * work * TRAIN_SECONDS / machine.speed(TRAINING_GPU)
    kept = CHECKPOINTED if getattr(section, "gradient_checkpointing", False) else 1.0
    return Cost(
        1.5 + seconds,
        weights + 1,
        BASE_MIB + 4 * weights + mpx * TRAIN_MIB * activation_growth(work) * kept,
    )


def cam_training(
    section: TrainCam, count: int, photos: PhotoSizes, machine: Machine, classes: int
) -> Cost:
    """Estimate the training of the CAM network, that of its warm start included."""
    if section.starts > 1:
        return _starts_training(section, count, photos, machine, classes)
    low, high = section.views.scale
    own = _training(
        section,
        count,
        machine,
        backbone=section.backbone.name,
        work=cam_work(section),
        views=1.0 + ((low + high) / 2) ** 2 if section.views.enabled else 1.0,
    )
    if not section.warm_epochs:
        return own
    plain = cam_training(section.plain_start(), count, photos, machine, classes)
    return Cost(own.seconds + plain.seconds, own.disk_mib + plain.disk_mib, own.memory_mib)


def _starts_training(
    section: TrainCam, count: int, photos: PhotoSizes, machine: Machine, classes: int
) -> Cost:
    """Estimate the features of all photos, computed once, and the heads on them.

    The disk also holds the features until the end.
    """
    side, stride = section.long_side, section.backbone.likely_stride
    mpx, work = photos.resized(None if side is None else side[0]), cam_work(section)
    feature_seconds = mpx * work * INFER_SECONDS / machine.speed(INFERENCE_GPU)
    feature_seconds += file_seconds(photos, machine)
    values = mpx / stride**2 * section.starts * classes  # millions per photo
    learned = max(1, count * (HELD_OUT - 1) // HELD_OUT)  # the other photos choose the heads
    steps = training_steps(section, learned)
    passes = steps * section.optimizer.accumulate * section.batch_size
    largest = min(photos.largest if side is None else mpx, section.crop**2 / 1e6)
    return Cost(
        1.5 + count * feature_seconds + passes * values * HEAD_SECONDS,
        WEIGHT_MIB.get(section.backbone.name, OTHER_WEIGHT_MIB)
        + count * on_disk(mpx * FEATURE_MIB / stride),
        BASE_MIB
        + largest * INFER_MIB * activation_growth(work)
        + section.batch_size * mpx * FEATURE_MIB / stride,
    )


def affinity_training(section: TrainAffinity, photos: int, machine: Machine) -> Cost:
    """Estimate the training of AffinityNet."""
    backbone = section.backbone
    work = backbone_work(backbone.name, backbone.likely_stride) + AFFINITY_WORK
    return _training(section, photos, machine, backbone=backbone.name, work=work)


def segmenter_training(section: TrainSegmenter, photos: int, machine: Machine) -> Cost:
    """Estimate the training of the segmentation network."""
    encoder, work = section.network.encoder, segmenter_training_work(section)
    return _training(section, photos, machine, backbone=encoder, work=work)
