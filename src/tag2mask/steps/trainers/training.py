"""What the steps that train a network share: optimizer, schedule, batches, and the model's file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from tag2mask.artifacts.handles import MODEL_FILE, TrainedModel
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.files.atomic import atomic_write
from tag2mask.files.digests import digest
from tag2mask.nn.class_matching import ClassMatch
from tag2mask.nn.gradient_checkpointing import can_checkpoint
from tag2mask.recipe.train_segmenter import TrainSegmenter
from tag2mask.recipe.training import TrainAffinity, TrainCam
from tag2mask.runtime.session import Runtime
from tag2mask.training.checkpoint import CHECKPOINT
from tag2mask.training.dataset import EpochDataset, step_loader
from tag2mask.training.loop import FitSettings
from tag2mask.training.mixture import PhotoChoice
from tag2mask.training.optim import build_optimizer, parameter_groups
from tag2mask.training.sampler import StepBatchSampler, epochs_to_steps, steps_per_epoch
from tag2mask.training.skipped import SkippedPhotos, TrainingBatch

TrainingSection = TrainCam | TrainAffinity | TrainSegmenter
ModelT = TypeVar("ModelT", bound=TrainedModel)
BatchT = TypeVar("BatchT", bound=TrainingBatch)


def fit_settings(section: TrainingSection, photos: int) -> FitSettings:
    """Return the settings of the training loop for a number of training photos."""
    o = section.optimizer
    per_epoch = steps_per_epoch(photos, section.batch_size)
    return FitSettings(
        steps=epochs_to_steps(section.epochs, per_epoch, o.accumulate, section.max_steps),
        batch_size=min(section.batch_size, photos),
        accumulate=o.accumulate,
        precision=section.precision,
        clip_norm=o.clip_norm,
        ema=o.ema,
        schedule=o.schedule,
        poly_power=o.poly_power,
        warmup_steps=o.warmup_steps,
        checkpoint_seconds=section.checkpoint_minutes * 60,
        log_every=section.log_every,
        seed=section.seed,
    )


def checkpointing_switch(section: TrainCam | TrainSegmenter, model: object) -> str | None:
    """Return the recipe key of gradient checkpointing where it would save memory, else None.

    Args:
        section: settings.
        model: the pretrained network, as timm built it; None: it isn't timm's.
    """
    if section.gradient_checkpointing or not section.freeze_batch_norm:
        return None
    name = "train_cam" if isinstance(section, TrainCam) else "train_segmenter"
    return f"{name}.gradient_checkpointing" if can_checkpoint(model) else None


def network_optimizer(
    net: nn.Module, new_parameters: Iterable[nn.Parameter], section: TrainingSection
) -> torch.optim.Optimizer:
    """Return the optimizer of the parameters that aren't frozen.

    Args:
        net: the network.
        new_parameters: parameters of layers without pretrained weights, which learn at
            ``optimizer.new_layer_lr`` times the learning rate.
        section: settings.
    """
    o = section.optimizer
    groups = parameter_groups(
        net,
        [(new_parameters, o.new_layer_lr)],
        lr=o.lr,
        bias_lr=o.bias_lr,
        weight_decay=o.weight_decay,
    )
    return build_optimizer(groups, name=o.name, momentum=o.momentum)


def rank_order(
    count: int,
    steps: tuple[int, int],
    section: TrainingSection,
    runtime: Runtime,
    batch_setting: str,
    mix: PhotoChoice | None = None,
) -> StepBatchSampler:
    """Return which photos are in this rank's batches.

    Args:
        count: number of photos.
        steps: first batch, and the one after the last.
        section: settings.
        runtime: the ranks.
        batch_setting: recipe key of the batch size, for error messages.
        mix: as in `StepBatchSampler`.
    """
    start, stop = steps
    return StepBatchSampler(
        count,
        section.batch_size,
        start=start,
        stop=stop,
        seed=section.seed,
        rank=runtime.rank,
        world_size=runtime.world_size,
        setting=batch_setting,
        mix=mix,
    )


def rank_batches(
    photos: EpochDataset,
    collate: Callable[[Sequence[Any]], BatchT],
    steps: tuple[int, int],
    section: TrainingSection,
    runtime: Runtime,
    skipped: SkippedPhotos,
    mix: PhotoChoice | None = None,
) -> Iterator[BatchT]:
    """Yield this rank's batches.

    Args:
        photos: the dataset.
        collate: makes a batch of its items.
        steps: first batch, and the one after the last.
        section: settings.
        runtime: the ranks, and where batches go.
        skipped: records unreadable photos.
        mix: as in `StepBatchSampler`.

    Raises:
        DataError: a photo can't be read (unless ``skip_bad``).
    """
    order = rank_order(len(photos.samples), steps, section, runtime, skipped.batch_setting, mix)
    on_gpu = runtime.device.type == "cuda"
    for batch in step_loader(photos, order, collate, workers=runtime.workers, pin_memory=on_gpu):
        skipped.check(batch)
        yield batch


def class_warnings(match: ClassMatch | None, setting: str) -> dict[str, list[str]]:
    """Return what the manifest says of the classes of a network that was started from."""
    warnings = [] if match is None else list(match.warnings(setting))
    return {"warnings": warnings} if warnings else {}


def finish_training(
    step: Step[ModelT],
    runtime: Runtime,
    *,
    counts: Mapping[str, int],
    metrics: Mapping[str, Any],
    skipped: Sequence[str],
) -> ModelT:
    """Write the manifest and delete the checkpoint; all ranks see the finished folder."""
    handle = step.finish(counts=counts, metrics=metrics, skipped=skipped)
    if runtime.rank == 0:
        (step.path / CHECKPOINT).unlink(missing_ok=True)
    runtime.barrier()
    return handle


def import_network(
    kind: type[ModelT], file: Path, out: Path, save: Callable[[Path], None]
) -> ModelT:
    """Make a step's folder of a network that was trained elsewhere.

    Args:
        kind: handle of the step.
        file: the file that was imported.
        out: folder to write.
        save: writes the network to a path.

    Raises:
        RunFolderError: ``out`` holds another network, or can't be written.
    """
    with step_folder(
        kind, out, section={"imported": file.name}, inputs={"model": digest(file)}
    ) as step:
        if not step.complete:
            with atomic_write(step.path / MODEL_FILE) as temporary:
                save(temporary)
            step.finish(metrics={"imported": str(file)})
        return step.handle
