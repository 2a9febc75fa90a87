"""Checks that a segmentation network can be trained as its section asks."""

from __future__ import annotations

from tag2mask.errors import RecipeError
from tag2mask.recipe.train_segmenter import TrainSegmenter
from tag2mask.segmentation.deeplab_v1 import DEEPLAB_V1, DeepLabV1
from tag2mask.segmentation.networks import SegmentationNet


def check_network(net: SegmentationNet, section: TrainSegmenter) -> None:
    """Check that a network can be trained as a section asks.

    Raises:
        RecipeError: it can't take the crop, isn't the authors' network, or can't be frozen.
    """
    _check_crop(net, section)
    _check_behavior(net, section)
    _check_freezing(net, section)


def _check_freezing(net: SegmentationNet, section: TrainSegmenter) -> None:
    """Check that frozen layers exist and were trained before; published training freezes none.

    Raises:
        RecipeError: they can't be identified, or have random weights.
    """
    if section.behavior == "published" or not net.frozen(section.freeze_stride):
        return
    if section.network.weights != "none" or section.init_from is not None:
        return
    if isinstance(net, DeepLabV1):
        raise RecipeError(
            f"{DEEPLAB_V1}'s first layers, which aren't trained, would keep random weights",
            where="train_segmenter.network.weights",
            fix="Give a file of trained weights, here or as train_segmenter.init_from.",
        )
    raise RecipeError(
        f"freeze_stride {section.freeze_stride} would keep random weights, as "
        "train_segmenter.network.weights is none",
        where="train_segmenter.freeze_stride",
        fix="Set it to 1: all layers are trained.",
    )


def _check_behavior(net: SegmentationNet, section: TrainSegmenter) -> None:
    """Check that the authors' training is asked for only with the authors' network, and vice versa.

    Raises:
        RecipeError: it is another network, or settings that the authors' network doesn't have.
    """
    if section.behavior == "published" and not isinstance(net, DeepLabV1):
        raise RecipeError(
            f"behavior published is the authors' training of {DEEPLAB_V1}, not of "
            f"{section.network.architecture}",
            where="train_segmenter.behavior",
            fix=f"Set it to default, or train_segmenter.network.architecture to {DEEPLAB_V1}.",
        )
    for key, value in (
        ("freeze_stride", section.freeze_stride),
        ("loss_stride", section.loss_stride),
    ):
        if isinstance(net, DeepLabV1) and value != 1:
            raise RecipeError(
                f"{DEEPLAB_V1} takes {key} 1 (published), not {value}",
                where=f"train_segmenter.{key}",
                fix="Set it to 1.",
            )


def _check_crop(net: SegmentationNet, section: TrainSegmenter) -> None:
    """Check that the network can take the crop and sees more than one cell of it.

    Raises:
        RecipeError: the crop is too small or not a multiple.
    """
    multiple = net.size_multiple
    least = max(multiple, 2 * section.network.output_stride)
    if section.crop % multiple or section.crop < least:
        fitting = max(least, -(-section.crop // multiple) * multiple)
        raise RecipeError(
            f"{section.network.architecture} takes crops that are multiples of {multiple} px, of"
            f" {least} at least, not {section.crop}",
            where="train_segmenter.crop",
            fix=f"Set it to {fitting}.",
        )
