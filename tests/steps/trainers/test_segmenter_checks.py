"""Which segmentation networks can be trained from random weights."""

from __future__ import annotations

import pytest
import torch

from tag2mask.errors import RecipeError
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.train_segmenter import TrainSegmenter
from tag2mask.segmentation.networks import SegmentationNet, SegmenterSpec, build_segmenter
from tag2mask.steps.trainers.segmenter_checks import check_network


@pytest.fixture(scope="module")
def deeplab_v1() -> SegmentationNet:
    with torch.device("meta"):
        return build_segmenter(SegmenterSpec(("a",), "deeplabv1", "resnet38", 8, 500, None))


def section_of(recipe: str, *overrides: str) -> TrainSegmenter:
    given = ["train_segmenter.network.weights=none", *overrides]
    return load_recipe(recipe, given).train_segmenter


def test_published_training_freezes_nothing(deeplab_v1: SegmentationNet) -> None:
    check_network(deeplab_v1, section_of("voc12-resnet38-paper"))


def test_random_weights_that_stay_are_refused(deeplab_v1: SegmentationNet) -> None:
    with pytest.raises(
        RecipeError,
        match=r"deeplabv1's first layers.*random weights \[train_segmenter\.network\.weights\]\. "
        r"Give a file .*init_from",
    ):
        check_network(deeplab_v1, section_of("voc12-resnet38"))
    check_network(deeplab_v1, section_of("voc12-resnet38", "train_segmenter.init_from=m.pth"))
