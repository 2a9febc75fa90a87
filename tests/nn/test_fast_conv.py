"""Faster convolutions give what the plain ones give: maps, gradients and tensors' names."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import Conv2dSame
from torch import Tensor, nn

from tag2mask.nn.backbones.timm_backbone import TimmBackbone
from tag2mask.nn.fast_conv import FastConv2d, FoldedBatchNorm, depthwise_conv, fold_batch_norms


@st.composite
def depthwise_cases(draw: st.DrawFn) -> tuple[int, int, int, int, int, int]:
    """(height, width, kernel, stride, dilation, padding); the output isn't empty."""
    kernel = draw(st.sampled_from([3, 5, 7]))
    dilation = draw(st.sampled_from([1, 1, 2, 3]))
    stride = draw(st.integers(1, 3)) if dilation == 1 else 1
    padding = dilation * draw(st.integers(0, kernel // 2))
    smallest = dilation * (kernel - 1) + 1
    height, width = draw(st.integers(smallest, 20)), draw(st.integers(smallest, 20))
    return height, width, kernel, stride, dilation, padding


@settings(max_examples=25, deadline=None)
@given(depthwise_cases(), st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
def test_depthwise_conv_is_torchs(
    case: tuple[int, int, int, int, int, int], dtype: torch.dtype
) -> None:
    height, width, kernel, stride, dilation, padding = case
    torch.manual_seed(0)
    shapes = (2, 6, height, width), (6, 1, kernel, kernel), (6,)
    inputs = [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]
    expected = F.conv2d(*inputs, stride, padding, dilation, groups=6)
    got = depthwise_conv(*inputs, stride, padding, dilation)
    seed = torch.randn_like(expected)
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 4e-2}[dtype]
    pairs = [
        (got, expected),
        *zip(
            torch.autograd.grad(got, inputs, seed),
            torch.autograd.grad(expected, inputs, seed),
            strict=True,
        ),
    ]
    for mine, theirs in pairs:
        assert mine.dtype == dtype
        scale = float(theirs.detach().abs().max()) + 1e-3
        torch.testing.assert_close(mine, theirs, rtol=0, atol=tolerance * scale)


def test_autocast_computes_in_bf16() -> None:
    x, weight = torch.randn(1, 4, 8, 8), torch.randn(4, 1, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = depthwise_conv(x, weight, None, padding=1)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert weight.grad is not None and weight.grad.dtype == torch.float32


class Small(nn.Module):
    """A foldable pair, one whose convolution is read twice, and a strided padded-alike one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv2dSame(3, 8, 3, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(8, eps=1e-3)
        self.twice = nn.Conv2d(8, 8, 1)
        self.norm_twice = nn.BatchNorm2d(8)
        self.depthwise = Conv2dSame(8, 8, 5, stride=2, groups=8)
        self.norm_last = nn.BatchNorm2d(8)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(image)))
        y = self.twice(x)
        x = F.relu(self.norm_twice(y)) + y
        out: Tensor = self.norm_last(self.depthwise(x))
        return out


def small_pair() -> tuple[Small, Small]:
    """A network with statistics of its own, and its faster twin of the same weights."""
    torch.manual_seed(0)
    plain = Small()
    for norm in plain.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
                assert tensor is not None
                tensor.copy_(torch.rand(8) + 0.5)
    fast = copy.deepcopy(plain).eval()
    fold_batch_norms(fast, lambda: [fast(torch.zeros(1, 3, 16, 16))])
    return plain, fast


def gradients(net: nn.Module, x: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    net(x).square().sum().backward()
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("training", [False, True])
def test_maps_and_gradients_stay(training: bool) -> None:
    plain, fast = small_pair()
    plain.train(training)
    fast.train(training)
    x = torch.randn(2, 3, 21, 17)
    torch.testing.assert_close(fast(x), plain(x), rtol=1e-5, atol=1e-5)
    mine, theirs = gradients(fast, x), gradients(plain, x)
    assert mine.keys() == theirs.keys()
    for name in theirs:
        torch.testing.assert_close(mine[name], theirs[name], rtol=1e-3, atol=1e-3, msg=name)
    if training:
        torch.testing.assert_close(fast.norm.running_var, plain.norm.running_var)


def test_only_what_nothing_else_reads_is_folded() -> None:
    _, fast = small_pair()
    assert isinstance(fast.norm, FoldedBatchNorm) and isinstance(fast.norm_last, FoldedBatchNorm)
    assert type(fast.norm_twice) is nn.BatchNorm2d and type(fast.twice) is nn.Conv2d
    assert isinstance(fast.depthwise, FastConv2d)


def test_tensors_keep_names_order_and_identity() -> None:
    plain, _ = small_pair()
    before = dict(plain.state_dict(keep_vars=True))
    plain.eval()
    fold_batch_norms(plain, lambda: [plain(torch.zeros(1, 3, 16, 16))])
    after = plain.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "resnetv2_18d"])
def test_timm_networks_stay_the_same(name: str) -> None:
    torch.manual_seed(0)
    backbone = TimmBackbone(name, output_stride=16)
    plain = timm.create_model(name, num_classes=0, output_stride=backbone.stride).eval()
    assert list(plain.state_dict()) == list(backbone.net.state_dict())
    for norm in plain.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 2)
    backbone.net.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        got = backbone.net.eval().forward_features(image)
        expected = plain.forward_features(image)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_every_convolution_of_lite0_is_fast() -> None:
    backbone = TimmBackbone("tf_efficientnet_lite0", output_stride=16)
    convs = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(convs) == len(norms) == 49
    assert all(isinstance(m, FastConv2d) for m in convs)
    assert all(isinstance(m, FoldedBatchNorm) for m in norms)
