"""A segmentation network as a task for the training loop.

``train_segmenter`` chooses what the network learns from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tag2mask.classes import ClassSet
from tag2mask.data.index import Sample
from tag2mask.nn.gradient_checkpointing import checkpoint_gradients
from tag2mask.recipe.train_segmenter import TrainSegmenter
from tag2mask.runtime.session import Runtime
from tag2mask.segmentation.dataset import (
    SegmenterBatch,
    SegmenterDataset,
    collate_segmenter,
)
from tag2mask.segmentation.deeplab_v1 import DeepLabV1, train_as_published
from tag2mask.segmentation.encoder_decoder import WITH_CHANNELS
from tag2mask.segmentation.losses import SegmenterObjective
from tag2mask.segmentation.networks import SegmentationNet, SegmenterSpec
from tag2mask.steps.trainers.segmenter_checks import check_network
from tag2mask.steps.trainers.segmenter_validation import Validation
from tag2mask.steps.trainers.training import checkpointing_switch, fit_settings, rank_batches
from tag2mask.training.augmentation import Augmentation
from tag2mask.training.mixture import PhotoChoice, PhotoMix
from tag2mask.training.optim import freeze, train_mode
from tag2mask.training.sampler import steps_per_epoch
from tag2mask.training.skipped import SkippedPhotos

LAST = "last.safetensors"


def segmenter_spec(
    section: TrainSegmenter, classes: ClassSet, samples: Sequence[Sample] = ()
) -> SegmenterSpec:
    """Return the specification of the network that a section describes.

    Its long side is that of the section, or the median of the photos if they keep their size.
    Without photos that is 1 px, for a network that is only built.
    """
    network = section.network
    sides = [max(sample.size) for sample in samples] or [1]
    long_side = section.long_side or int(np.median(sides))
    return SegmenterSpec(
        classes=classes.names,
        architecture=network.architecture,
        encoder=network.encoder,
        output_stride=network.output_stride,
        long_side=long_side,
        decoder_channels=network.decoder_channels
        if network.architecture in WITH_CHANNELS
        else None,
    )


class SegmenterTask:
    """A segmentation network as a task for the training loop.

    Args:
        net: the network.
        samples: photos.
        labels: their label maps by photo id.
        num_classes: foreground classes C.
        section: settings.
        runtime: device and ranks.
        skipped: records unreadable photos.
        validation: scores the network during training; None: no validation.
        sure: photos whose masks were drawn or accepted, for ``masks: mixed``.

    Raises:
        RecipeError: the network can't take the crop, or ``behavior: published`` isn't its training.
    """

    section_name = "train_segmenter"

    def __init__(
        self,
        net: SegmentationNet,
        samples: list[Sample],
        labels: Mapping[str, Path],
        num_classes: int,
        section: TrainSegmenter,
        runtime: Runtime,
        skipped: SkippedPhotos,
        validation: Validation | None,
        sure: Collection[str] = (),
    ) -> None:
        check_network(net, section)
        if section.behavior == "published":
            assert isinstance(net, DeepLabV1)
            train_as_published(net)
        assert isinstance(net.backbone, nn.Module)
        self.backbone = net.backbone
        if section.behavior == "default":
            first = net.frozen(section.freeze_stride)
            freeze(self.backbone, first, batch_norm=section.freeze_batch_norm)
        if section.gradient_checkpointing:
            checkpoint_encoder(net)
        self.memory_switch = checkpointing_switch(section, getattr(net.backbone, "model", None))
        channels_last = net.to(memory_format=torch.channels_last)
        self.module = SegmenterObjective(channels_last, section.loss_stride)
        self.section = section
        self.runtime = runtime
        self.skipped = skipped
        self.validation = validation
        self._train_mode()
        self.per_epoch = steps_per_epoch(len(samples), section.batch_size)
        self.settings = fit_settings(section, len(samples))
        side = section.long_side
        augmentation = Augmentation(
            crop=section.crop,
            long_side=None if side is None else (side, side),
            color_jitter=section.color_jitter,
            mean=net.mean,
            std=net.std,
            scale=section.scale,
            jitter_photo=False,
            black_padding=False,
        )
        self.photos = SegmenterDataset(samples, labels, num_classes, augmentation, section.seed)
        self.sure = frozenset(sure) if section.masks == "mixed" else frozenset()
        self.mix: PhotoChoice | None = None
        if self.sure:
            self.mix = photo_mix(samples, self.sure, section)

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the module that are not pretrained."""
        return self.module.net.new_parameters()

    def batches(self, start: int, stop: int) -> Iterator[SegmenterBatch]:
        """Return this rank's batches ``start .. stop - 1``."""
        steps = (start, stop)
        return rank_batches(
            self.photos,
            collate_segmenter,
            steps,
            self.section,
            self.runtime,
            self.skipped,
            self.mix,
        )

    def inputs(self, batch: SegmenterBatch, step: int, device: torch.device) -> tuple[Any, ...]:
        """Return the arguments of `SegmenterObjective` on the device.

        Weights of photos where they differ, tags where absent classes have a loss.
        """
        image = batch.image.to(device, non_blocking=True, memory_format=torch.channels_last)
        labels = batch.labels.to(device, non_blocking=True).long()
        weights = None
        if self.mix is not None and self.section.drawn_weight != 1:
            own = [self.section.drawn_weight if id in self.sure else 1.0 for id in batch.ids]
            weights = torch.tensor(own).to(device, non_blocking=True)
        if self.section.absent_weight == 0:
            return image, labels, weights
        tags, tags_apply = (
            values.to(device, non_blocking=True) for values in (batch.tags, batch.tags_apply)
        )
        return image, labels, weights, tags, tags_apply

    def weights(self, step: int) -> dict[str, float]:
        """Return the weight of each loss."""
        absent = self.section.absent_weight
        return {"cross_entropy": 1.0, **({"absent": absent} if absent else {})}

    def on_step_end(self, step: int, module: nn.Module) -> None:
        """Score the validation photos every ``validate_epochs`` epochs and after the last step."""
        every = self.section.validate_epochs * self.per_epoch // self.section.optimizer.accumulate
        last = step == self.settings.steps
        if self.validation is not None and (last or step % max(1, every) == 0):
            assert isinstance(module, SegmenterObjective)
            self.validation.after(step, module.net)
            self._train_mode()

    def _train_mode(self) -> None:
        """Set training mode; batch norms of new layers use the statistics of the batch."""
        self.module.train()
        train_mode(self.backbone, freeze_batch_norm=self.section.freeze_batch_norm)


def photo_mix(
    samples: Sequence[Sample], sure: Collection[str], section: TrainSegmenter
) -> PhotoMix:
    """Return the choice of photos for ``masks: mixed``."""
    return PhotoMix(
        len(samples),
        [place for place, sample in enumerate(samples) if sample.id in sure],
        section.drawn_share,
        section.seed,
    )


def checkpoint_encoder(net: SegmentationNet) -> None:
    """Let the encoder compute its activations again; see `checkpoint_gradients`."""
    encoder: Any = net.backbone
    side = net.size_multiple
    checkpoint_gradients(
        getattr(encoder, "model", None),
        lambda: encoder(torch.zeros(1, 3, side, side)),
        where="train_segmenter.gradient_checkpointing",
    )
