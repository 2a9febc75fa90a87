"""Crops and views fit the patches of a backbone."""

from __future__ import annotations

import pytest

from nn.toy_backbone import PointwiseBackbone
from small_runs import one_rank
from tag2mask.nn.backbones.timm_backbone import TimmBackbone
from tag2mask.steps.trainers.fitting_sizes import fitting_crop, fitting_multiple


@pytest.mark.parametrize(("crop", "fitting"), [(112, 112), (100, 96), (105, 112), (3, 16)], ids=str)
def test_crops_of_a_vit_are_multiples_of_its_patch_and_printed(
    crop: int, fitting: int, capsys: pytest.CaptureFixture[str]
) -> None:
    backbone = TimmBackbone("test_vit", output_stride="auto")
    assert fitting_crop(crop, backbone, "train_cam.crop", one_rank()) == fitting
    line = f"train_cam.crop: crops of {fitting} px, not {crop}: multiples of 16 px\n"
    assert capsys.readouterr().err == ("" if crop == fitting else line)
    assert [fitting_multiple(given, backbone) for given in (1, 16, 32, 40)] == [16, 16, 32, 48]


@pytest.mark.parametrize(
    "backbone",
    [PointwiseBackbone(16, size_multiple=16), TimmBackbone("resnet10t", output_stride=16)],
    ids=["own", "resnet"],
)
def test_other_networks_read_any_size(
    backbone: PointwiseBackbone | TimmBackbone, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fitting_crop(100, backbone, "train_cam.crop", one_rank()) == 100
    assert fitting_multiple(1, backbone) == 1
    assert capsys.readouterr().err == ""
