"""Our step against the published one, batched views against single ones, and compiled networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks import bare_networks, inference_views
from benchmarks.gpu.steps import synchronized
from benchmarks.measure import Row, side_by_side
from benchmarks.train_steps import inputs, published_behavior_net, steps_of
from tag2mask.recipe.schema import Recipe
from tag2mask.runtime.precision import resolve_precision

Comparison = Callable[..., Row | str]
Step = Callable[..., Callable[[], None]]
PATIENCE = 60
"""Seconds over which two functions are timed in turn."""


def vs_published(recipe: Recipe, device: torch.device, *, toy: bool) -> Row:
    """Compare our step in published behavior, in the fastest precision, with the published one."""
    section = recipe.train_cam
    net = published_behavior_net(
        dropout=0.5,
        backbone="tf_efficientnet_lite0" if toy else section.backbone.name,
        stride=16 if toy else section.backbone.likely_stride,
        weights="none" if toy else section.backbone.weights,
    ).to(device)
    image, tags, valid = inputs(section.batch_size, section.crop)
    batch = (image.to(device), tags.to(device), valid.to(device))
    ours, other = steps_of(net, batch, resolve_precision("auto", device))
    return side_by_side(
        synchronized(ours, device), synchronized(other, device), seconds=0 if toy else PATIENCE
    )


def inference_vs_single(recipe: Recipe, device: torch.device, *, toy: bool) -> Row:
    """Compare the maps of sixteen photos with a loop over photos, scales and mirror images."""
    return inference_views.batched_vs_single(toy=toy)


def compiled_vs_eager(step: Step, section: str) -> Comparison:
    """Return the comparison of a network that torch compiles with the same network as it is."""

    def compare(recipe: Recipe, device: torch.device, *, toy: bool) -> Row:
        # Without a GPU this only shows that the network can be traced.
        options: dict[str, Any] = {} if device.type == "cuda" else {"backend": "eager"}
        return _vs_eager(step, section, recipe, device, toy=toy, **options)

    return compare


def graphed_vs_eager(step: Step, section: str) -> Comparison:
    """Return the same comparison of a compiled network that is replayed as a CUDA graph."""

    def compare(recipe: Recipe, device: torch.device, *, toy: bool) -> Row | str:
        if device.type != "cuda":
            return "a CUDA graph needs a GPU"
        return _vs_eager(step, section, recipe, device, toy=toy, mode="reduce-overhead")

    return compare


def _vs_eager(
    step: Step, section: str, recipe: Recipe, device: torch.device, *, toy: bool, **options: Any
) -> Row:
    torch.compiler.reset()
    settings = getattr(recipe, section)
    compiled = step(settings, device, partial(torch.compile, dynamic=False, **options))
    eager = step(settings, device)
    return side_by_side(
        synchronized(compiled, device), synchronized(eager, device), seconds=0 if toy else PATIENCE
    )


CAM = (bare_networks.cam_step, "train_cam")
SEGMENTER = (bare_networks.segmenter_step, "train_segmenter")
COMPARISONS: dict[str, Comparison] = {
    "gpu_train_step_vs_published": vs_published,
    "gpu_inference_vs_single": inference_vs_single,
    "gpu_cam_network_compiled_vs_eager": compiled_vs_eager(*CAM),
    "gpu_cam_network_graphed_vs_eager": graphed_vs_eager(*CAM),
    "gpu_segmenter_compiled_vs_eager": compiled_vs_eager(*SEGMENTER),
    "gpu_segmenter_graphed_vs_eager": graphed_vs_eager(*SEGMENTER),
}
"""By the name of the row."""
