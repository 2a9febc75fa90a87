"""Step ``train-affinity``: train AffinityNet on labels on which two dense CRFs agree.

Never reads a mask of the data. Writes ``model.safetensors``, ``losses.csv`` and ``tensorboard/``,
and ``checkpoint.pt`` until it is finished. Photos without a single sure pixel are not used (they
are with ``behavior: published``); the manifest counts and names them. Photos skipped during
training are recorded in the folder's item journal, so that a resumed training still lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tag2mask.affinity.dataset import AffinityBatch, AffinityDataset, collate_affinity
from tag2mask.affinity.labels import label_path, without_sure_pixels
from tag2mask.affinity.loss import AFFINITY_WEIGHTS, AffinityObjective
from tag2mask.affinity.marginals import marginals_path
from tag2mask.affinity.network import (
    AffinityNet,
    AffinitySpec,
    build_affinity_net,
    load_affinity_net,
    save_affinity_net,
)
from tag2mask.artifacts.handles import (
    MODEL_FILE,
    WITHOUT_SURE_PIXELS,
    AffinityLabels,
    AffinityModel,
    PreparedData,
)
from tag2mask.artifacts.identity import file_input
from tag2mask.artifacts.items import SkippedItems
from tag2mask.artifacts.manifest import read_identity
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.data.corrections.folder import CORRECTIONS
from tag2mask.data.index import Sample, read_classes, read_index
from tag2mask.errors import DataError, in_section
from tag2mask.files.atomic import atomic_write
from tag2mask.nn.backbones.build import found_stride
from tag2mask.recipe.training import TrainAffinity, weight_file
from tag2mask.runtime.session import Runtime
from tag2mask.steps.trainers.fitting_sizes import fitting_crop
from tag2mask.steps.trainers.training import (
    finish_training,
    fit_settings,
    import_network,
    network_optimizer,
    rank_batches,
)
from tag2mask.training.augmentation import Augmentation
from tag2mask.training.loop import fit
from tag2mask.training.optim import freeze, train_mode
from tag2mask.training.skipped import SkippedPhotos


def train_affinity(
    data: PreparedData, labels: AffinityLabels, section: TrainAffinity, out: Path, runtime: Runtime
) -> AffinityModel:
    """Train AffinityNet.

    Args:
        data: photos.
        labels: their affinity labels.
        section: settings.
        out: folder to write; a partial one of the same settings is resumed from its checkpoint.
        runtime: where to run.

    Raises:
        DataError: no label map has a sure pixel; labels missing, or of other photos or classes; a
            photo can't be read (unless ``skip_bad``).
        RecipeError: batches too small for the devices.
        WeightsError: the weights or the checkpoint can't be used.
        DeviceError: out of memory, on the device or where photos are read.
        RunFolderError: ``out`` was made with other settings, data or labels.
    """
    weights = section.backbone.weights
    file = weight_file(weights)
    files = {} if file is None else file_input("backbone.weights", file, out)
    with step_folder(
        AffinityModel,
        out,
        section=section,
        inputs={"data": data, "labels": labels, **files, **_drawn_masks(labels, out)},
        rank=runtime.rank,
    ) as step:
        if step.complete:
            return step.handle
        classes = len(read_classes(data.path))
        samples = _labeled(data, labels)
        published = section.behavior == "published"
        if published:
            _check_marginals(samples, labels)
        unsure = set(without_sure_pixels(samples, labels.path, classes))
        sure = [sample for sample in samples if sample.id not in unsure]
        samples = samples if published else sure
        if not sure:
            raise DataError(
                "no photo has a single sure pixel to learn affinities from",
                where=labels.path,
                fix="Look at the maps; affinity_labels.alpha_factors closer to 1 make more pixels "
                "sure. walk.enabled=false needs no affinities.",
            )
        with runtime.seeded(section.seed):
            with in_section("train_affinity"):
                spec = affinity_spec(section)
                net = build_affinity_net(spec, weights=weights)
            task = _AffinityTask(net, samples, labels.path, classes, section, runtime, step)
            summary = fit(
                task,
                network_optimizer(net, net.new_parameters(), section),
                task.settings,
                step.path,
                runtime,
                name="train-affinity",
            )
        skipped = task.skipped.lines()
        if runtime.rank == 0:
            with atomic_write(step.path / MODEL_FILE) as temporary:
                save_affinity_net(temporary, net, spec)
        left_out = [] if published else sorted(unsure)
        return finish_training(
            step,
            runtime,
            counts={"photos": len(samples) - len(skipped), WITHOUT_SURE_PIXELS: len(left_out)},
            metrics={"steps": task.settings.steps, **summary, WITHOUT_SURE_PIXELS: left_out},
            skipped=skipped,
        )


def import_model(file: Path, out: Path) -> AffinityModel:
    """Make a ``train-affinity`` folder of a model trained elsewhere (psa's ``resnet38_aff.pth``).

    Raises:
        WeightsError: the file is not a known AffinityNet, or is cut off.
    """
    net, spec = load_affinity_net(file)  # before a folder is opened: a bad file leaves nothing
    return import_network(AffinityModel, file, out, lambda path: save_affinity_net(path, net, spec))


def affinity_spec(section: TrainAffinity) -> AffinitySpec:
    """Return the specification of the network that a section describes."""
    backbone = section.backbone
    return AffinitySpec(
        backbone=backbone.name,
        output_stride=found_stride(backbone.name, backbone.output_stride),
        pcm_levels=backbone.pcm_levels,
        levels=section.channels,
        radius=section.radius,
    )


def _drawn_masks(labels: AffinityLabels, out: Path) -> dict[str, str]:
    """Return the fingerprint of the drawn masks that are labels, as an input of the folder.

    Not of a folder that these labels began before it was recorded, which stays usable.
    """
    drawn, found = labels.manifest.coverage.get(CORRECTIONS), read_identity(out)
    if drawn is None:
        return {}
    if found is not None and CORRECTIONS not in found.inputs:
        before = found.inputs.get("labels")
        if before is not None and before.fingerprint == labels.fingerprint:
            return {}
    return {CORRECTIONS: drawn.fingerprint}


def _labeled(data: PreparedData, labels: AffinityLabels) -> list[Sample]:
    """Return the training photos that have labels.

    Raises:
        DataError: a photo has none although ``affinity-labels`` did not skip it.
    """
    skipped = SkippedItems(labels.manifest.skipped)
    samples = []
    for sample in read_index(data.path, "train"):
        if label_path(labels.path, sample.id).is_file():
            samples.append(sample)
        elif sample.id not in skipped:
            raise DataError(
                f"photo {sample.id!r} has no affinity labels",
                where=labels.path,
                fix="Run affinity-labels on this data, or give the labels that belong to it.",
            )
    return samples


def _check_marginals(samples: list[Sample], labels: AffinityLabels) -> None:
    """Check that the labels were made with the CRFs' marginals, which published training reads.

    Raises:
        DataError: a photo has none.
    """
    for sample in samples:
        if not marginals_path(labels.path, sample.id).is_file():
            raise DataError(
                f"photo {sample.id!r} has labels, but no marginals of the CRFs",
                where=labels.path,
                fix="Run affinity-labels with affinity_labels.behavior=published, or set "
                "train_affinity.behavior=default.",
            )


class _AffinityTask:
    """AffinityNet as a task for the training loop."""

    section_name = "train_affinity"
    memory_switch = None

    def __init__(
        self,
        net: AffinityNet,
        samples: list[Sample],
        labels: Path,
        classes: int,
        section: TrainAffinity,
        runtime: Runtime,
        step: Step[AffinityModel],
    ) -> None:
        backbone = net.backbone
        published = section.behavior == "published"
        freeze(net, backbone.frozen(), batch_norm=section.freeze_batch_norm)
        self.module = AffinityObjective(
            net.to(memory_format=torch.channels_last),
            radius=section.radius,
            published=published,
        )
        train_mode(self.module, freeze_batch_norm=section.freeze_batch_norm)
        self.section = section
        self.runtime = runtime
        self.skipped = SkippedPhotos(
            step, runtime, allowed=section.skip_bad, batch_setting="train_affinity.batch_size"
        )
        self.settings = fit_settings(section, len(samples))
        augmentation = Augmentation(
            crop=fitting_crop(section.crop, backbone, "train_affinity.crop", runtime),
            long_side=section.long_side,
            color_jitter=section.color_jitter,
            mean=backbone.mean,
            std=backbone.std,
            scale=None,
            jitter_photo=published,
            black_padding=published,
        )
        self.photos = AffinityDataset(
            samples,
            labels,
            classes,
            augmentation,
            section.seed,
            stride=net.stride,
            published=published,
        )

    def batches(self, start: int, stop: int) -> Iterator[AffinityBatch]:
        """Return this rank's batches ``start .. stop - 1``."""
        steps = (start, stop)
        return rank_batches(
            self.photos, collate_affinity, steps, self.section, self.runtime, self.skipped
        )

    def inputs(self, batch: AffinityBatch, step: int, device: torch.device) -> tuple[Any, ...]:
        """Return images, labels and valid masks on the device."""
        image = batch.image.to(device, non_blocking=True, memory_format=torch.channels_last)
        labels = batch.labels.to(device, non_blocking=True).long()
        return image, labels, batch.valid.to(device, non_blocking=True)

    def weights(self, step: int) -> dict[str, float]:
        """Return the published weights of the loss terms."""
        return AFFINITY_WEIGHTS

    def on_step_end(self, step: int, module: nn.Module) -> None:
        """Do nothing."""
