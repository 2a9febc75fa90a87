"""What the segmentation network starts from: a trained one, the CAM network or other weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from tag2mask.artifacts.handles import MODEL_FILE, CamModel, Handle
from tag2mask.artifacts.identity import file_input
from tag2mask.classes import ClassSet
from tag2mask.errors import RecipeError, WeightsError, in_section
from tag2mask.nn.class_matching import (
    ClassMatch,
    Trained,
    architecture_error,
    load_trained,
    match_classes,
)
from tag2mask.recipe.train_segmenter import CAM_WEIGHTS, TrainSegmenter
from tag2mask.recipe.training import weight_file
from tag2mask.segmentation.loading import check_not_exported
from tag2mask.segmentation.networks import (
    SegmentationNet,
    SegmenterSpec,
    build_segmenter,
    load_segmenter,
)
from tag2mask.steps.trainers.segmenter_task import segmenter_spec


def check_start_model(section: TrainSegmenter, classes: Sequence[str]) -> None:
    """Check that training can start from the model that ``init_from`` names.

    Raises:
        RecipeError: the recipe's network can't be built.
        WeightsError: it is missing, damaged, no segmentation network, exported, or of another
            architecture.
    """
    if section.init_from is None:
        return
    with torch.random.fork_rng(devices=[]), in_section("train_segmenter"):
        spec = segmenter_spec(section, ClassSet(tuple(classes)))
        start_from(build_segmenter(spec), spec, section.init_from)


def start_from(net: SegmentationNet, spec: SegmenterSpec, file: str) -> ClassMatch:
    """Load the weights of a trained segmentation network, which may know other classes.

    Returns:
        Which classes it knows.

    Raises:
        WeightsError: see `check_start_model`.
    """
    check_not_exported(Path(file))
    trained, trained_spec = load_segmenter(Path(file))
    state = Trained(trained.state_dict(), trained_spec.classes, file)
    try:
        load_trained(net, net.class_layers(), spec.classes, state)
    except WeightsError as error:
        raise architecture_error(
            error,
            spec,
            trained_spec,
            setting="train_segmenter.init_from",
            fields=("architecture", "encoder", "decoder_channels"),
        ) from None
    return match_classes(spec.classes, trained_spec.classes)


def start_inputs(
    section: TrainSegmenter, cam: CamModel | None, out: Path
) -> Mapping[str, Handle | str]:
    """Return what the network starts from, as inputs of its folder.

    Args:
        section: settings.
        cam: the trained CAM network, if one is given.
        out: folder of the step.

    Raises:
        RecipeError: it starts from the CAM network, and none is given.
    """
    if section.init_from is not None:
        return file_input("init_from", Path(section.init_from), out)
    if section.starts_from_cam:
        return {"cam": _given(cam)}
    file = weight_file(section.network.weights)
    return {} if file is None else file_input("network.weights", file, out)


def _given(cam: CamModel | None) -> CamModel:
    """Return the CAM network to start from.

    Raises:
        RecipeError: none was given.
    """
    if cam is None:
        raise RecipeError(
            f"the encoder starts from a trained CAM network ({CAM_WEIGHTS}), and none was given",
            where="train_segmenter.network.weights",
            fix="Give the folder that `tag2mask train-cam` wrote as --cam, or set packaged.",
        )
    return cam


def first_weights(section: TrainSegmenter, cam: CamModel | None) -> str:
    """Return the weights that the encoder is built with; see `build_segmenter`.

    Raises:
        RecipeError: it starts from the CAM network, and none is given.
    """
    if section.init_from is not None:
        return "none"
    if section.starts_from_cam:
        return str(_given(cam).path / MODEL_FILE)
    return section.network.weights
