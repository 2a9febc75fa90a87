"""ResNet-38: the authors' tensor names and shapes, strides and frozen layers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from tag2mask.nn.backbones.base import Backbone
from tag2mask.nn.backbones.resnet38 import BottleneckBlock, ResNet38, WideBlock

HEADS = ("fc8", "f8_3", "f8_4", "f8_5", "f9")


@pytest.fixture(scope="module")
def network() -> ResNet38:
    torch.manual_seed(0)
    return ResNet38().eval()


@pytest.mark.parametrize("file", ["resnet38_seam_shapes.json", "resnet38_aff_shapes.json"])
def test_official_names_shapes_and_order(reference: Path, file: str) -> None:
    shapes = json.loads((reference / file).read_text())
    with torch.device("meta"):
        own = ResNet38().state_dict()
    expected = {n: tuple(s) for n, s in shapes.items() if n.split(".")[0] not in HEADS}
    assert [(name, tuple(tensor.shape)) for name, tensor in own.items()] == list(expected.items())


def test_maps_have_the_stated_shapes(network: ResNet38) -> None:
    backbone: Backbone = network
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, 41, 56))
    assert [tuple(f.shape) for f in features] == [(1, c, 6, 7) for c in backbone.channels]
    assert backbone.mid_strides == (8, 8)
    assert all(f.min() == 0 and f.max() > 0 for f in features)


def test_images_of_a_batch_are_independent(network: ResNet38) -> None:
    images = torch.randn(2, 3, 24, 24)
    with torch.no_grad():
        both, one = network(images), network(images[1:])
    for in_batch, alone in zip(both, one, strict=True):
        torch.testing.assert_close(in_batch[1:], alone, atol=1e-4, rtol=1e-4)


def test_frozen_layers() -> None:
    with torch.device("meta"):
        network = ResNet38()
    frozen = {id(p) for p in network.frozen()}
    names = {name for name, p in network.named_parameters() if id(p) in frozen}
    assert {name.split(".")[0] for name in names} == {"conv1a", "b2", "b2_1", "b2_2"}
    norms = {
        id(p) for m in network.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()
    }
    trains = [n for n, p in network.named_parameters() if id(p) not in frozen | norms]
    assert len(trains) == 35  # 39 with the four heads of SEAM, as in the authors' code


def test_mid_level_maps_are_the_pre_activations() -> None:
    block = WideBlock(4, 6, 8, stride=2).eval()
    x = torch.randn(1, 4, 9, 9)
    with torch.no_grad():
        out, rectified = block(x)
        torch.testing.assert_close(rectified, block.bn_branch2a(x).relu())
    assert out.shape == (1, 8, 5, 5)


def test_shortcut_is_the_identity_if_the_shape_is_unchanged() -> None:
    block = WideBlock(4, 4, 4).eval()
    nn.init.zeros_(block.conv_branch2b1.weight)
    x = torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        out, _ = block(x)
    assert torch.equal(out, x)


def test_bottleneck_drops_channels_only_in_training() -> None:
    torch.manual_seed(0)
    block = BottleneckBlock(8, 16, dilation=4, dropout=0.5).eval()
    x = torch.randn(1, 8, 6, 6)
    with torch.no_grad():
        assert torch.equal(block(x)[0], block(x)[0])
        for dropout in (block.dropout_2b1, block.dropout_2b2):
            dropout.train()
            assert not torch.equal(block(x)[0], block(x)[0])
            dropout.eval()
