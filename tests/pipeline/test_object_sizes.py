"""How far a recipe shrinks photos, and the smallest object that it sees."""

from __future__ import annotations

import pytest

from tag2mask.pipeline.object_sizes import seen_objects, seen_sizes
from tag2mask.recipe.loading import load_recipe

SIZES = [(100, 200), (2448, 2048), (4000, 3000)]


def test_the_coarser_of_training_and_maps_limits_the_objects() -> None:
    seen = seen_sizes(load_recipe("lite0-cpu"), 2448)
    assert seen.training == 2448 / 384 and seen.maps == 2448 / 576 and seen.masks == 2448 / 320
    assert seen.smallest_object == 16 * 2448 / 384
    finer = load_recipe("lite0-cpu", ["train_cam.long_side=[224,2448]"])
    assert seen_sizes(finer, 2448).smallest_object == 16 * 2448 / 576
    coarser = load_recipe("lite0-cpu", ["infer_cam.scales=[0.5]"])
    assert seen_sizes(coarser, 2448).smallest_object == 16 * 2448 / 192


def test_maps_of_the_photos_own_size() -> None:
    recipe = load_recipe("lite0-cpu", ["infer_cam.long_side=null", "predict.long_side=photo"])
    seen = seen_sizes(recipe, 2448)
    assert seen.maps == 1 / 1.5 and seen.masks == 1.0  # the largest scale of the maps is 1.5


def test_the_line_is_about_the_median_photo() -> None:
    line = seen_objects(load_recipe("lite0-cpu"), SIZES)
    assert line.startswith("objects: smaller than about 102 px") and "photos of 2448 px" in line
    assert "shrunk 7.7 times for the segmentation network" in line
    assert seen_objects(load_recipe("lite0-cpu"), []) == ""


@pytest.mark.parametrize(
    ("side", "text"), [(192, "enlarged 2.0 times"), (384, "not resized"), (500, "shrunk 1.3 times")]
)
def test_small_photos_are_enlarged(side: int, text: str) -> None:
    line = seen_objects(load_recipe("lite0-cpu"), [(side, side)])
    assert f"are {text} to train" in line


def test_without_a_segmentation_network() -> None:
    recipe = load_recipe("lite0-cpu", ["train_segmenter.enabled=false"])
    assert "segmentation" not in seen_objects(recipe, SIZES)
