"""Trial construction of the networks that a run or an ablation trains.

A misspelled encoder, an unsupported stride or a damaged weight file then ends a run in its first
seconds, not after hours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from tag2mask.affinity.network import build_affinity_net
from tag2mask.artifacts.handles import (
    AffinityModel,
    CamModel,
    Handle,
    SegmenterModel,
    section_name,
)
from tag2mask.classes import ClassSet
from tag2mask.errors import in_section
from tag2mask.recipe.schema import Recipe
from tag2mask.recipe.train_segmenter import TrainSegmenter
from tag2mask.recipe.training import TrainAffinity, TrainCam, weight_file
from tag2mask.seam.model import build_seam
from tag2mask.segmentation.networks import build_segmenter
from tag2mask.steps.train_affinity import affinity_spec
from tag2mask.steps.train_cam import net_spec
from tag2mask.steps.trainers.cam_parts import check_parts
from tag2mask.steps.trainers.cam_task import checkpoint_backbone
from tag2mask.steps.trainers.fitting_sizes import check_crop
from tag2mask.steps.trainers.segmenter_checks import check_network
from tag2mask.steps.trainers.segmenter_task import checkpoint_encoder, segmenter_spec


def try_network(
    kind: type[Handle], recipe: Recipe, run: Path, *, cam_due: bool, download: bool = True
) -> None:
    """Build the network of a training step with its weights to check that it is possible.

    Args:
        kind: the step.
        recipe: of the run.
        run: the run folder; weight files in it may not exist yet and are not checked.
        cam_due: whether the CAM network is trained, too; its backbone isn't built again.
        download: whether weights are downloaded; if not, such networks are built without.

    Raises:
        RecipeError: the network can't be built, or can't take the crop.
        WeightsError: weights are missing, damaged or of another network.
        PartError: a part of the user's own can't be used.
    """
    weights_now = partial(_weights_now, run=run, download=download)
    cam = recipe.train_cam
    # A network that continues from another one never reads its backbone's weights.
    built = cam.backbone if cam_due and cam.init_from is None else None
    # Later random numbers stay the same.
    with torch.random.fork_rng(devices=[]), in_section(section_name(kind.step)):
        if kind is CamModel:
            _try_cam(cam, weights_now)
        elif kind is AffinityModel and recipe.train_affinity.backbone != built:
            _try_affinity(recipe.train_affinity, weights_now)
        elif kind is SegmenterModel:
            _try_segmenter(recipe.train_segmenter, weights_now)


def _try_cam(section: TrainCam, weights_now: Callable[[str], str]) -> None:
    if section.init_from is not None and not (section.modules() or section.gradient_checkpointing):
        return
    weights = "none" if section.init_from else weights_now(section.backbone.weights)
    spec = net_spec(section, ClassSet(("object",)))
    net = build_seam(spec, weights=weights, modules=section.modules().values())
    check_parts(section, net)
    check_crop(section.crop, net.backbone, "crop")
    if section.gradient_checkpointing:
        checkpoint_backbone(net)


def _try_affinity(section: TrainAffinity, weights_now: Callable[[str], str]) -> None:
    weights = weights_now(section.backbone.weights)
    net = build_affinity_net(affinity_spec(section), weights=weights)
    check_crop(section.crop, net.backbone, "crop")


def _try_segmenter(section: TrainSegmenter, weights_now: Callable[[str], str]) -> None:
    # The number of classes and the size of photos make no difference here.
    spec = segmenter_spec(section, ClassSet(("object",)))
    later = section.init_from is not None or section.starts_from_cam
    net = build_segmenter(spec, weights=weights_now("none" if later else section.network.weights))
    check_network(net, section)
    if section.gradient_checkpointing:
        checkpoint_encoder(net)


def _weights_now(weights: str, *, run: Path, download: bool) -> str:
    """Return the weights; ``none`` if they need a download or an earlier step will write them."""
    if weights == "hub" and not download:
        return "none"
    file = weight_file(weights)
    if file is None or file.is_file() or not file.resolve().is_relative_to(run.resolve()):
        return weights
    return "none"
