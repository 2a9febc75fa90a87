"""Crops, views and photos fit the patches of a backbone."""

from __future__ import annotations

import pytest

from nn.toy_backbone import PointwiseBackbone
from small_runs import one_rank
from tag2mask.errors import RecipeError
from tag2mask.nn.backbones.timm_backbone import TimmBackbone
from tag2mask.steps.trainers.fitting_sizes import (
    check_crop,
    fitting_crop,
    fitting_multiple,
    note_long_side,
)


def vit() -> TimmBackbone:
    return TimmBackbone("test_vit", output_stride="auto")


@pytest.mark.parametrize(("crop", "fitting"), [(112, 112), (100, 96), (105, 112)], ids=str)
def test_crops_of_a_vit_are_multiples_of_its_patch_and_printed(
    crop: int, fitting: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fitting_crop(crop, vit(), "train_cam.crop", one_rank()) == fitting
    line = f"train_cam.crop: crops of {fitting} px, not {crop}: multiples of 16 px\n"
    assert capsys.readouterr().err == ("" if crop == fitting else line)


def test_a_patch_larger_than_the_crop_is_an_error() -> None:
    with pytest.raises(
        RecipeError, match=r"crop of 15 px is smaller than a patch of the network, 16 px.*train_cam"
    ):
        fitting_crop(15, vit(), "train_cam.crop", one_rank())
    check_crop(16, vit(), "train_cam.crop")


@pytest.mark.parametrize(("given", "fitting"), [(1, 16), (16, 16), (32, 32), (40, 48)], ids=str)
def test_sides_of_views_are_multiples_and_printed(
    given: int, fitting: int, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "train_cam.views.size_multiple"
    assert fitting_multiple(given, vit(), key, one_rank()) == fitting
    line = f"{key}: {fitting} px, not {given}: multiples of 16 px\n"
    assert capsys.readouterr().err == ("" if given == fitting else line)


@pytest.mark.parametrize(("long_side", "fitting"), [(100, 96), (5, 16), (64, 64), (None, None)])
def test_a_rounded_long_side_is_printed(
    long_side: int | None, fitting: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    note_long_side(long_side, vit(), "infer_cam.long_side", one_rank())
    line = f"infer_cam.long_side: {fitting} px, not {long_side}: multiples of 16 px\n"
    assert capsys.readouterr().err == ("" if fitting == long_side else line)


@pytest.mark.parametrize(
    "backbone",
    [PointwiseBackbone(16, size_multiple=16), TimmBackbone("resnet10t", output_stride=16)],
    ids=["own", "resnet"],
)
def test_other_networks_read_any_size(
    backbone: PointwiseBackbone | TimmBackbone, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fitting_crop(100, backbone, "train_cam.crop", one_rank()) == 100
    assert fitting_crop(8, backbone, "train_cam.crop", one_rank()) == 8
    assert fitting_multiple(1, backbone, "train_cam.views.size_multiple", one_rank()) == 1
    note_long_side(100, backbone, "infer_cam.long_side", one_rank())
    assert capsys.readouterr().err == ""
