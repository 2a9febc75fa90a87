"""Step ``train-cam``: learn class activation maps from image-level tags, Siamese (SEAM) or plain.

Reads photos and tags, never a mask. Writes ``model.safetensors``, ``losses.csv``, ``tensorboard/``
and ``pictures/``; ``checkpoint.pt`` while it is unfinished. A plain CAM that the training starts
from has a folder of the same kind, ``warm-start/`` in it where no other is named. Photos that
training left out stand in the folder's item journal, so that a resumed training still knows them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tag2mask.artifacts.files import atomic_write
from tag2mask.artifacts.handles import MODEL_FILE, CamModel, PreparedData
from tag2mask.artifacts.identity import file_input
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.classes import ClassSet
from tag2mask.data.index import Sample, read_classes, read_index
from tag2mask.errors import DataError, FolderInUseError, RecipeError, in_section
from tag2mask.nn.weights import load_into
from tag2mask.recipe.training import TrainCam, Views, weight_file
from tag2mask.report.overlays import cam_sheet
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.session import Runtime
from tag2mask.seam.losses import max_norm
from tag2mask.seam.network import SeamNet, SeamSpec, build_seam, load_seam, save_seam
from tag2mask.seam.objective import LossWeights, SeamObjective
from tag2mask.seam.transform import ViewTransform
from tag2mask.steps.training import (
    finish_training,
    fit_settings,
    import_network,
    network_optimizer,
    rank_batches,
)
from tag2mask.training.augmentation import Augmentation
from tag2mask.training.dataset import TaggedBatch, TrainingDataset, training_loader
from tag2mask.training.loop import fit
from tag2mask.training.optim import freeze, train_mode
from tag2mask.training.skipped import SkippedPhotos

WARM_START = "warm-start"
"""Folder of the plain CAM that a training started from."""
WAIT_SECONDS = 2.0
"""Between two looks at a folder in which another process works."""
PICTURED = 4
"""Training photos shown in the pictures."""


def train_cam(
    data: PreparedData, section: TrainCam, out: Path, runtime: Runtime, start: Path | None = None
) -> CamModel:
    """Train the CAM network.

    Args:
        data: photos and tags.
        section: settings.
        out: folder to write; a partial one of the same settings is resumed from its checkpoint.
        runtime: where to run.
        start: folder of the plain CAM that ``warm_start`` asks for, which is trained where it is
            not complete; trainings that differ in other things may share it. None: in ``out``.

    Raises:
        DataError: no training photo has a tag; a photo can't be read (unless ``skip_bad``).
        RecipeError: ``init_from`` is of other classes; batches too small for the devices.
        WeightsError: weights or checkpoint unusable.
        DeviceError: out of memory, on the device or where photos are read.
        RunFolderError: ``out`` was made with other settings or data.
    """
    with _folder(data, section, out, runtime) as step:
        if step.complete:
            return step.handle
        samples = _tagged(data)
        left_out: tuple[str, ...] = ()
        if section.warm_start:
            begun = _plain_cam(
                data,
                samples,
                section.plain_start(),
                start or out / WARM_START,
                runtime,
                shared=start is not None,
            )
            left_out = begun.manifest.skipped
            section = section.model_copy(update={"init_from": str(begun.file)})
        return _train(data, samples, section, runtime, step, name="train-cam", left_out=left_out)


def _plain_cam(
    data: PreparedData,
    samples: list[Sample],
    section: TrainCam,
    out: Path,
    runtime: Runtime,
    *,
    shared: bool,
) -> CamModel:
    """Train it, or wait for the process that does."""
    name = "train-cam, warm start"
    waiting: ProgressBar | None = None
    with ExitStack() as stack:
        while True:
            try:
                with _folder(data, section, out, runtime) as step:
                    if step.complete:
                        return step.handle
                    return _train(data, samples, section, runtime, step, name=name)
            except FolderInUseError:
                # The other ranks would not know of it.
                if not shared or runtime.world_size > 1:
                    raise
            if waiting is None:
                waiting = stack.enter_context(
                    runtime.progress(1, f"{name}, trained by another process")
                )
            waiting.advance(0)
            time.sleep(WAIT_SECONDS)


def _folder(
    data: PreparedData, section: TrainCam, out: Path, runtime: Runtime
) -> AbstractContextManager[Step[CamModel]]:
    return step_folder(
        CamModel,
        out,
        section=section,
        inputs={"data": data, **_weight_files(section, out)},
        rank=runtime.rank,
    )


def _tagged(data: PreparedData) -> list[Sample]:
    """The photos to train on."""
    samples = read_index(data.path, "train")
    if not any(sample.tags for sample in samples):
        raise DataError(
            "no training photo has a tag",
            where=data.path,
            fix="Check the tag table and the training split.",
        )
    return samples


def _train(
    data: PreparedData,
    samples: list[Sample],
    section: TrainCam,
    runtime: Runtime,
    step: Step[CamModel],
    *,
    name: str,
    left_out: Sequence[str] = (),
) -> CamModel:
    """Train a network and write it; ``left_out`` are photos that its start did without."""
    with runtime.seeded(section.seed):
        spec = net_spec(section, read_classes(data.path))
        with in_section("train_cam"):
            net = build_seam(
                spec, weights="none" if section.init_from else section.backbone.weights
            )
        if section.init_from:
            _start_from(net, spec, Path(section.init_from))
        task = _CamTask(net, spec, samples, section, runtime, step)
        summary = fit(
            task, cam_optimizer(net, section), task.settings, step.path, runtime, name=name
        )
    skipped = tuple(dict.fromkeys([*left_out, *task.skipped.lines()]))
    if runtime.rank == 0:
        with atomic_write(step.path / MODEL_FILE) as temporary:
            save_seam(temporary, net, spec)
    return finish_training(
        step,
        runtime,
        counts={"photos": len(samples) - len(skipped)},
        metrics={"steps": task.settings.steps, **summary},
        skipped=skipped,
    )


def import_model(file: Path, out: Path) -> CamModel:
    """Make a ``train-cam`` folder of a model trained elsewhere (``resnet38_SEAM.pth``, say).

    Raises:
        WeightsError: the file is no model that we know, or cut off.
    """
    net, spec = load_seam(file)  # before a folder is opened: a bad file leaves nothing behind
    return import_network(CamModel, file, out, lambda path: save_seam(path, net, spec))


def _weight_files(section: TrainCam, out: Path) -> dict[str, str]:
    """Digest of the weight file that training starts from, if it is one, by its key."""
    if section.init_from:
        return file_input("init_from", Path(section.init_from), out)
    file = weight_file(section.backbone.weights)
    return {} if file is None else file_input("backbone.weights", file, out)


def net_spec(section: TrainCam, classes: ClassSet) -> SeamSpec:
    """The network that a section describes."""
    return SeamSpec(
        classes=classes.names,
        backbone=section.backbone.name,
        output_stride=section.backbone.output_stride,
        pcm_levels=section.backbone.pcm_levels,
        pcm=section.pcm.enabled,
        pcm_channels=section.pcm.channels,
        pcm_finest=section.pcm.stride == "finest",
        pcm_power=section.pcm.power,
        block_mib=section.pcm.block_mib,
        dropout=section.dropout,
        head=section.head,
        mdc_rates=section.mdc_rates,
        mdc_channels=section.mdc_channels,
    )


def seam_objective(net: SeamNet, section: TrainCam) -> SeamObjective:
    """The network with its loss terms as a section describes them, frozen where it says so."""
    freeze(net, net.backbone.frozen(), batch_norm=section.freeze_batch_norm)
    w = section.losses
    objective = SeamObjective(
        net.to(memory_format=torch.channels_last),
        LossWeights(cls=w.cls, cls_view2=w.cls_view2, min_pool=w.min_pool, er=w.er, ecr=w.ecr),
        ecr_top=w.ecr_top,
        published=section.behavior == "published",
        gate_pcm=section.pcm.gate_by_tags,
        map_stride=w.map_stride,
    )
    train_mode(objective, freeze_batch_norm=section.freeze_batch_norm)
    return objective


def cam_optimizer(net: SeamNet, section: TrainCam) -> torch.optim.Optimizer:
    """The optimizer over what isn't frozen."""
    new = [*net.head.parameters(), *([] if net.pcm is None else net.pcm.parameters())]
    return network_optimizer(net, new, section)


def _start_from(net: SeamNet, spec: SeamSpec, file: Path) -> None:
    """Take the weights of a trained CAM model; PCM may be new."""
    trained, trained_spec = load_seam(file)
    if trained_spec.classes != spec.classes:
        raise RecipeError(
            "train_cam.init_from was trained on other classes",
            where=file,
            fix="Start from a model of the same classes, or from ImageNet weights.",
        )
    load_into(
        net,
        trained.state_dict(),
        where=file,
        allow_missing=() if trained_spec.pcm else ("pcm.",),
        allow_unexpected=() if spec.pcm else ("pcm.",),
    )


@dataclass(frozen=True)
class _ViewDraw:
    """Draws the transform between the views, one a batch, from (seed, step)."""

    views: Views
    seed: int

    def at(self, step: int) -> ViewTransform:
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + step) % 2**63)
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


class _CamTask:
    """SEAM as a task for the training loop."""

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
        self.net = net
        self.section = section
        self.runtime = runtime
        self.step = step
        self.skipped = SkippedPhotos(
            step, runtime, allowed=section.skip_bad, batch_setting="train_cam.batch_size"
        )
        self.draw = _ViewDraw(section.views, section.seed)
        self.two_views = section.views.enabled
        self.settings = fit_settings(section, len(samples))
        self.augmentation = Augmentation(
            crop=section.crop,
            long_side=section.long_side,
            color_jitter=section.color_jitter,
            mean=backbone.mean,
            std=backbone.std,
            scale=None,
        )
        self.photos = TrainingDataset(samples, len(spec.classes), self.augmentation, section.seed)
        self.names = spec.classes

    def batches(self, start: int, stop: int) -> Iterator[TaggedBatch]:
        """This rank's batches."""
        steps = (start, stop)
        return rank_batches(
            self.photos, training_loader, steps, self.section, self.runtime, self.skipped
        )

    def inputs(self, batch: TaggedBatch, step: int, device: torch.device) -> tuple[Any, ...]:
        """Tensors on the device and this step's view transform."""
        image = batch.image.to(device, non_blocking=True, memory_format=torch.channels_last)
        transform = self.draw.at(step) if self.two_views else None
        tags = batch.tags.to(device, non_blocking=True)
        return image, tags, batch.valid.to(device, non_blocking=True), transform

    def weights(self, step: int) -> dict[str, float]:
        """Term weights; er and ecr grow over the ramp."""
        ramp_steps = self.section.losses.ramp * self.settings.steps
        ramp = min(1.0, step / ramp_steps) if ramp_steps > 0 else 1.0
        weights = self.module.total_weights(two_views=self.two_views)
        return {
            name: weight * (ramp if name.startswith(("er", "ecr")) else 1.0)
            for name, weight in weights.items()
        }

    def on_step_end(self, step: int, module: nn.Module) -> None:
        """Now and then, a picture of a few training photos' maps."""
        every = self.section.picture_every
        if self.runtime.rank == 0 and every and (step % every == 0 or step == self.settings.steps):
            self._picture(step)

    def _picture(self, step: int) -> None:
        photos, maps = [], []
        self.net.eval()
        with torch.no_grad():
            for index in range(min(PICTURED, len(self.photos))):
                try:
                    image, tags, valid, _ = self.photos[(0, index)]
                except DataError:
                    continue  # its batch tells of it
                pair = self.net(
                    image[None].to(self.runtime.device), valid=valid[None].to(self.runtime.device)
                )
                photos.append(_photo(image, self.augmentation))
                maps.append(self._named_maps(pair.cam, pair.refined, tags))
        train_mode(self.module, freeze_batch_norm=self.section.freeze_batch_norm)
        if photos:
            with atomic_write(self.step.path / "pictures" / f"step_{step:06}.jpg") as temporary:
                cam_sheet(photos, maps).save(temporary, format="JPEG", quality=85)

    def _named_maps(
        self, cam: Tensor, refined: Tensor | None, tags: Tensor
    ) -> list[tuple[str, np.ndarray[Any, Any]]]:
        named = []
        for tag in tags.nonzero().flatten().tolist()[:2]:
            for kind, maps in (("cam", cam), ("refined", refined)):
                if maps is not None:
                    scaled = max_norm(maps.float())[0, tag + 1].cpu().numpy()
                    named.append((f"{self.names[tag]} {kind}", scaled))
        return named


def _photo(image: Tensor, augmentation: Augmentation) -> Image.Image:
    """Undo the normalization."""
    mean, std = torch.tensor(augmentation.mean), torch.tensor(augmentation.std)
    pixels = (image * std[:, None, None] + mean[:, None, None]).clamp(0, 1) * 255
    return Image.fromarray(pixels.permute(1, 2, 0).byte().numpy())
