"""The networks that a run or an ablation trains late, each built once at its start.

A misspelt encoder, a stride that it doesn't give or a damaged file of weights then ends a run in
its first seconds, not after hours of the steps before. The first network needs no such trial: its
training follows on ``prepare``.
"""

from __future__ import annotations

from pathlib import Path

import torch

from tag2mask.affinity.network import build_affinity_net
from tag2mask.classes import ClassSet
from tag2mask.errors import in_section
from tag2mask.recipe.training import Backbone, TrainAffinity, TrainSegmenter, weight_file
from tag2mask.segmentation.networks import build_segmenter
from tag2mask.steps.segmenter_task import refuse_crop, segmenter_spec
from tag2mask.steps.train_affinity import affinity_spec


def try_networks(
    affinity: TrainAffinity | None,
    segmenter: TrainSegmenter | None,
    *,
    built: Backbone | None,
    run: Path,
) -> None:
    """Build networks with their weights, and drop them again.

    Args:
        affinity: of the network to try; None: none.
        segmenter: likewise.
        built: a backbone that a step before them builds anyway.
        run: the run folder; files of weights that it shall hold may not be there yet, and aren't
            looked at.

    Raises:
        RecipeError: a network can't be built, or takes no such crops.
        WeightsError: its weights are missing, damaged or of another network.
    """
    with torch.random.fork_rng(devices=[]):  # whoever draws later finds the generator as it was
        if affinity is not None and affinity.backbone != built:
            with in_section("train_affinity"):
                build_affinity_net(
                    affinity_spec(affinity), weights=_weights_now(affinity.backbone.weights, run)
                )
        if segmenter is not None:
            # How many classes there are, and how large the photos, makes no difference here.
            sized = segmenter.model_copy(update={"long_side": segmenter.long_side or 1})
            with in_section("train_segmenter"):
                net = build_segmenter(
                    segmenter_spec(sized, ClassSet(("object",)), []),
                    weights=_weights_now(segmenter.network.weights, run),
                )
                refuse_crop(net, segmenter)


def _weights_now(weights: str, run: Path) -> str:
    """The weights, or none where an earlier step of the run has yet to write them."""
    file = weight_file(weights)
    if file is None or file.is_file() or not file.resolve().is_relative_to(run.resolve()):
        return weights
    return "none"
