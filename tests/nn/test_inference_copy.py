"""Copies for inference compute the same as the network, at all sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import Conv2dSame
from torch import nn

from tag2mask.nn.backbones.timm_backbone import TimmBackbone
from tag2mask.nn.fast_conv import FastConv2d, FoldedBatchNorm
from tag2mask.nn.inference_copy import inference_copy, memory_format, plain_copy
from tag2mask.segmentation.networks import SegmenterSpec, build_segmenter

OURS = (FastConv2d, FoldedBatchNorm, Conv2dSame)
pytestmark = pytest.mark.usefixtures("one_thread")


@settings(max_examples=40)
@given(
    kernel=st.sampled_from([1, 2, 3, 5]),
    stride=st.sampled_from([1, 2, 3]),
    dilation=st.sampled_from([1, 2, 3]),
    cells=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_same_padding(kernel: int, stride: int, dilation: int, cells: tuple[int, int]) -> None:
    if dilation > 1:
        stride = 1
    net = nn.Sequential(Conv2dSame(2, 3, kernel, stride, dilation=dilation)).eval()
    x = torch.randn(2, 2, *(side * stride for side in cells))
    torch.testing.assert_close(plain_copy(net, fixed_padding=True)(x), net(x))


@settings(max_examples=40)
@given(
    kernel=st.sampled_from([3, 5]),
    dilation=st.integers(1, 9),
    grouped=st.booleans(),
    cells=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_wide_padding_of_depthwise_convolutions(
    kernel: int, dilation: int, grouped: bool, cells: tuple[int, int]
) -> None:
    padding = dilation * (kernel // 2)
    net = nn.Sequential(
        nn.Conv2d(4, 4, kernel, padding=padding, dilation=dilation, groups=4 if grouped else 1)
    ).eval()
    plain, x = plain_copy(net), torch.randn(2, 4, *cells)
    torch.testing.assert_close(plain(x), net(x))
    convolutions = [m for m in plain.modules() if isinstance(m, nn.Conv2d)]
    assert [int(conv.padding[0]) for conv in convolutions] == [
        0 if grouped and padding > 6 else padding
    ]


@settings(max_examples=40)
@given(
    windows=st.sampled_from([1, 2, 3, 6, (2, 3)]),
    size=st.tuples(st.integers(1, 13), st.integers(1, 13)),
)
def test_adaptive_average_pooling(windows: int | tuple[int, int], size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    net = nn.Sequential(nn.AdaptiveAvgPool2d(windows)).eval()
    torch.testing.assert_close(plain_copy(net)(x), F.adaptive_avg_pool2d(x, windows))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """A network with "same" padding and non-trivial batch norm statistics."""
    torch.manual_seed(0)
    net = build_segmenter(
        SegmenterSpec(
            ("cat", "dog"),
            "deeplabv3plus",
            "tf_mobilenetv3_small_minimal_100",
            16,
            96,
            decoder_channels=None,
        )
    )
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias, std=0.1)
    return net.eval()


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("size", [(16, 16), (48, 80)])
def test_complete_network(net: nn.Module, size: tuple[int, int], fixed: bool) -> None:
    plain = plain_copy(net, fixed_padding=fixed)
    assert not any(isinstance(module, OURS) for module in plain.modules())
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = net(image)
    assert expected.std() > 0.01
    torch.testing.assert_close(plain(image), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(37, 53), (64, 41)])
def test_padding_that_depends_on_the_size(size: tuple[int, int]) -> None:
    """Views of published behavior have any size, and some networks make odd sides of even ones."""
    torch.manual_seed(0)
    net = TimmBackbone("tf_efficientnet_lite0", output_stride=16).eval()
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        for plain, expected in zip(plain_copy(net)(image), net(image), strict=True):
            torch.testing.assert_close(plain, expected, atol=1e-4, rtol=1e-4)


def test_copy_for_a_cpu_is_channels_last(net: nn.Module) -> None:
    copied = inference_copy(net, torch.device("cpu"))
    kernels = [m.weight for m in copied.modules() if isinstance(m, nn.Conv2d)]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    assert memory_format(torch.device("cuda")) is torch.contiguous_format


def test_original_network_is_unchanged(net: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    modules = [type(module) for module in net.modules()]
    plain = plain_copy(net)
    for tensor in plain.state_dict().values():
        tensor.zero_()
    assert [type(module) for module in net.modules()] == modules
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert not any(parameter.requires_grad for parameter in plain.parameters())
