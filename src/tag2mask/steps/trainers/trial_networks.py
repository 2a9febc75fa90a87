"""Trial construction of the networks that a run or an ablation trains.

A misspelled encoder, an unsupported stride or a damaged weight file then ends a run in its first
seconds, not after hours.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from tag2mask.affinity.network import build_affinity_net
from tag2mask.classes import ClassSet
from tag2mask.errors import in_section
from tag2mask.recipe.train_segmenter import TrainSegmenter
from tag2mask.recipe.training import BackboneSettings, TrainAffinity, TrainCam, weight_file
from tag2mask.seam.model import build_seam
from tag2mask.segmentation.networks import build_segmenter
from tag2mask.steps.train_affinity import affinity_spec
from tag2mask.steps.train_cam import net_spec
from tag2mask.steps.trainers.cam_parts import check_parts
from tag2mask.steps.trainers.cam_task import checkpoint_backbone
from tag2mask.steps.trainers.fitting_sizes import check_crop
from tag2mask.steps.trainers.segmenter_checks import check_network
from tag2mask.steps.trainers.segmenter_task import checkpoint_encoder, segmenter_spec


def try_networks(
    cam: TrainCam | None,
    affinity: TrainAffinity | None,
    segmenter: TrainSegmenter | None,
    *,
    built: BackboneSettings | None,
    run: Path,
    download: bool = True,
) -> None:
    """Build networks with their weights to check that it is possible.

    Args:
        cam: settings of the CAM network; None: it is not trained.
        affinity: settings of AffinityNet; None: it is not trained.
        segmenter: settings of the segmentation network; None: it is not trained.
        built: a backbone that an earlier step builds anyway.
        run: the run folder; weight files in it may not exist yet and are not checked.
        download: whether weights are downloaded; if not, such networks are built without.

    Raises:
        RecipeError: a network can't be built, or can't take the crop.
        WeightsError: weights are missing, damaged or of another network.
        PartError: a part of the user's own can't be used.
    """
    weights_now = partial(_weights_now, run=run, download=download)
    with torch.random.fork_rng(devices=[]):  # later random numbers stay the same
        own = cam is not None and (cam.modules() or cam.gradient_checkpointing)
        if cam is not None and (cam.init_from is None or own):
            with in_section("train_cam"):
                _try_cam(cam, "none" if cam.init_from else weights_now(cam.backbone.weights))
        if affinity is not None and affinity.backbone != built:
            with in_section("train_affinity"):
                net = build_affinity_net(
                    affinity_spec(affinity), weights=weights_now(affinity.backbone.weights)
                )
                check_crop(affinity.crop, net.backbone, "crop")
        if segmenter is not None:
            # The number of classes and the size of photos make no difference here.
            sized = segmenter.model_copy(update={"long_side": segmenter.long_side or 1})
            with in_section("train_segmenter"):
                later = segmenter.init_from is not None or segmenter.starts_from_cam
                weights = "none" if later else segmenter.network.weights
                segmentation = build_segmenter(
                    segmenter_spec(sized, ClassSet(("object",)), []), weights=weights_now(weights)
                )
                check_network(segmentation, segmenter)
                if segmenter.gradient_checkpointing:
                    checkpoint_encoder(segmentation)


def _try_cam(cam: TrainCam, weights: str) -> None:
    spec = net_spec(cam, ClassSet(("object",)))
    net = build_seam(spec, weights=weights, modules=cam.modules().values())
    check_parts(cam, net)
    check_crop(cam.crop, net.backbone, "crop")
    if cam.gradient_checkpointing:
        checkpoint_backbone(net)


def _weights_now(weights: str, *, run: Path, download: bool) -> str:
    """Return the weights; ``none`` if they need a download or an earlier step will write them."""
    if weights == "hub" and not download:
        return "none"
    file = weight_file(weights)
    if file is None or file.is_file() or not file.resolve().is_relative_to(run.resolve()):
        return weights
    return "none"
