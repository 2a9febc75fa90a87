"""SEAM or a plain CAM classifier as a task for the training loop, with pictures of its maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tag2mask.artifacts.handles import CamModel
from tag2mask.artifacts.step_folder import Step
from tag2mask.data.index import Sample
from tag2mask.errors import DataError
from tag2mask.files.atomic import atomic_write
from tag2mask.nn.gradient_checkpointing import checkpoint_gradients
from tag2mask.recipe.training import TrainCam, Views
from tag2mask.report.overlays import cam_sheet
from tag2mask.runtime.session import Runtime
from tag2mask.seam.losses import max_norm
from tag2mask.seam.model import SeamSpec
from tag2mask.seam.network import SeamNet
from tag2mask.seam.objective import LossWeights, ObjectiveSettings, SeamObjective
from tag2mask.seam.parts import Transform, ViewsPart
from tag2mask.seam.transform import ViewTransform
from tag2mask.steps.trainers.cam_parts import extra_losses, own_views
from tag2mask.steps.trainers.fitting_sizes import fitting_crop, fitting_multiple
from tag2mask.steps.trainers.training import (
    checkpointing_switch,
    fit_settings,
    network_optimizer,
    rank_batches,
)
from tag2mask.training.augmentation import Augmentation
from tag2mask.training.dataset import TaggedBatch, TrainingDataset, collate_tagged
from tag2mask.training.optim import freeze, train_mode
from tag2mask.training.skipped import SkippedPhotos

PICTURED = 4
"""Number of training photos in a picture."""


def objective_settings(section: TrainCam) -> ObjectiveSettings:
    """Return the settings of the Siamese objective that a section describes."""
    w = section.losses
    return ObjectiveSettings(
        weights=LossWeights(
            cls=w.cls, cls_view2=w.cls_view2, min_pool=w.min_pool, er=w.er, ecr=w.ecr
        ),
        ecr_top=w.ecr_top,
        published=section.behavior == "published",
        gate_pcm=section.pcm.gate_by_tags,
        map_stride=w.map_stride,
    )


def checkpoint_backbone(net: SeamNet) -> None:
    """Let the backbone compute its activations again; see `checkpoint_gradients`."""
    backbone = net.backbone
    side = 2 * backbone.size_multiple
    checkpoint_gradients(
        getattr(backbone, "net", None),
        lambda: backbone(torch.zeros(1, 3, side, side)),
        where="train_cam.gradient_checkpointing",
    )


def seam_objective(net: SeamNet, section: TrainCam) -> SeamObjective:
    """Return the network with the loss terms and frozen layers that a section describes."""
    assert isinstance(net.backbone, nn.Module)
    freeze(net.backbone, net.backbone.frozen(), batch_norm=section.freeze_batch_norm)
    if section.gradient_checkpointing:
        checkpoint_backbone(net)
    objective = SeamObjective(
        net.to(memory_format=torch.channels_last),
        objective_settings(section),
        extra_losses(section),
    )
    _train_mode(objective, section)
    return objective


def _train_mode(objective: SeamObjective, section: TrainCam) -> None:
    """Set training mode; only the backbone has pretrained statistics to keep."""
    objective.train()
    backbone = objective.net.backbone
    assert isinstance(backbone, nn.Module)
    train_mode(backbone, freeze_batch_norm=section.freeze_batch_norm)


def cam_optimizer(objective: SeamObjective, section: TrainCam) -> torch.optim.Optimizer:
    """Return the optimizer of the parameters that aren't frozen, also of extra losses."""
    new = [*objective.net.new_parameters(), *objective.extra.parameters()]
    return network_optimizer(objective, new, section)


@dataclass(frozen=True)
class ViewDraw:
    """Draws the transform between the views, one per optimizer step, from (seed, step).

    Attributes:
        views: settings of the transform.
        seed: seed of the training.
        part: draws in place of the settings; None: they do.
    """

    views: Views
    seed: int
    part: ViewsPart | None = None

    def at(self, step: int) -> Transform:
        """Return the transform of a step."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step) % 2**63)
        if self.part is not None:
            return self.part.draw(generator)
        views = self.views
        return ViewTransform.draw(
            generator,
            scale=views.scale,
            flip=views.flip,
            rotate=views.rotate,
            translate=views.translate,
            size_multiple=views.size_multiple,
            antialias=views.antialias,
        )


class CamTask:
    """SEAM as a task for the training loop.

    Args:
        net: the network.
        spec: its specification.
        samples: training photos.
        section: settings.
        runtime: device and ranks.
        step: folder of the step, for pictures and for the record of skipped photos.
    """

    section_name = "train_cam"

    def __init__(
        self,
        net: SeamNet,
        spec: SeamSpec,
        samples: list[Sample],
        section: TrainCam,
        runtime: Runtime,
        step: Step[CamModel],
    ) -> None:
        backbone = net.backbone
        self.module = seam_objective(net, section)
        self.memory_switch = checkpointing_switch(section, getattr(backbone, "net", None))
        self.net = net
        self.section = section
        self.runtime = runtime
        self.step = step
        self.skipped = SkippedPhotos(
            step, runtime, allowed=section.skip_bad, batch_setting="train_cam.batch_size"
        )
        multiple = section.views.size_multiple
        if section.views.enabled:
            key = "train_cam.views.size_multiple"
            multiple = fitting_multiple(multiple, backbone, key, runtime)
        views = section.views.model_copy(update={"size_multiple": multiple})
        self.draw = ViewDraw(views, section.seed, own_views(section))
        self.two_views = section.views.enabled
        self.settings = fit_settings(section, len(samples))
        self.augmentation = Augmentation(
            crop=fitting_crop(section.crop, backbone, "train_cam.crop", runtime),
            long_side=section.long_side,
            color_jitter=section.color_jitter,
            mean=backbone.mean,
            std=backbone.std,
            scale=None,
            jitter_photo=section.behavior == "published",
            black_padding=False,
        )
        self.photos = TrainingDataset(samples, len(spec.classes), self.augmentation, section.seed)
        self.names = spec.classes

    def batches(self, start: int, stop: int) -> Iterator[TaggedBatch]:
        """Return this rank's batches ``start .. stop - 1``."""
        steps = (start, stop)
        return rank_batches(
            self.photos, collate_tagged, steps, self.section, self.runtime, self.skipped
        )

    def inputs(self, batch: TaggedBatch, step: int, device: torch.device) -> tuple[Any, ...]:
        """Return image, tags and valid mask on the device, the view transform, and the progress."""
        image = batch.image.to(device, non_blocking=True, memory_format=torch.channels_last)
        transform = self.draw.at(step) if self.two_views else None
        tags = batch.tags.to(device, non_blocking=True)
        valid = batch.valid.to(device, non_blocking=True)
        return image, tags, valid, transform, step / self.settings.steps

    def weights(self, step: int) -> dict[str, float]:
        """Return the weights of the loss terms; those of ER and ECR grow over the ramp."""
        ramp_steps = self.section.losses.ramp * self.settings.steps
        ramp = min(1.0, step / ramp_steps) if ramp_steps > 0 else 1.0
        weights = self.module.total_weights(two_views=self.two_views)
        return {
            name: weight * (ramp if name.startswith(("er", "ecr")) else 1.0)
            for name, weight in weights.items()
        }

    def on_step_end(self, step: int, module: nn.Module) -> None:
        """Write a picture of maps every ``picture_every`` steps and after the last step."""
        every = self.section.picture_every
        if self.runtime.rank == 0 and every and (step % every == 0 or step == self.settings.steps):
            assert isinstance(module, SeamObjective)
            self._picture(step, module.net)

    def _picture(self, step: int, net: SeamNet) -> None:
        """Write the maps of the first training photos as one JPEG."""
        photos, maps = [], []
        gated = self.section.pcm.gate_by_tags
        net.eval()
        with torch.no_grad():
            for index in range(min(PICTURED, len(self.photos))):
                try:
                    image, tags, valid, _ = self.photos[(0, index)]
                except DataError:
                    continue  # recorded when its batch is loaded
                device = self.runtime.device
                pair = net(
                    image[None].to(device),
                    valid=valid[None].to(device),
                    tags=tags[None].to(device) if gated else None,
                )
                photos.append(_photo(image, self.augmentation))
                maps.append(self._named_maps(pair.cam, pair.refined, tags))
        _train_mode(self.module, self.section)
        if photos:
            with atomic_write(self.step.path / "pictures" / f"step_{step:06}.jpg") as temporary:
                cam_sheet(photos, maps).save(temporary, format="JPEG", quality=85)

    def _named_maps(
        self, cam: Tensor, refined: Tensor | None, tags: Tensor
    ) -> list[tuple[str, np.ndarray[Any, Any]]]:
        """Return titles and maps (h, w) of the first two tags, scaled to a maximum of 1."""
        named = []
        for tag in tags.nonzero().flatten().tolist()[:2]:
            for kind, maps in (("cam", cam), ("refined", refined)):
                if maps is not None:
                    scaled = max_norm(maps.float())[0, tag + 1].cpu().numpy()
                    named.append((f"{self.names[tag]} {kind}", scaled))
        return named


def _photo(image: Tensor, augmentation: Augmentation) -> Image.Image:
    """Return a normalized image (3, h, w) as a picture."""
    mean, std = torch.tensor(augmentation.mean), torch.tensor(augmentation.std)
    pixels = (image * std[:, None, None] + mean[:, None, None]).clamp(0, 1) * 255
    return Image.fromarray(pixels.permute(1, 2, 0).byte().numpy())
