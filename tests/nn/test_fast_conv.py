"""Folded batch norms: same outputs, same gradients and same names of tensors."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame
from torch import Tensor, nn

from tag2mask.nn.backbones.timm_backbone import TimmBackbone
from tag2mask.nn.fast_conv import FastConv2d, FoldedBatchNorm, fold_batch_norms


class Small(nn.Module):
    """Three conv-norm pairs: foldable, read twice (not foldable), and strided depthwise."""

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
    """Return a network with non-trivial statistics, and a folded copy with the same weights."""
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
def test_folding_keeps_outputs_and_gradients(training: bool) -> None:
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


def test_convolution_read_twice_is_not_folded() -> None:
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
def test_folding_keeps_outputs_of_timm_networks(name: str) -> None:
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


def test_every_convolution_of_lite0_is_replaced() -> None:
    backbone = TimmBackbone("tf_efficientnet_lite0", output_stride=16)
    convs = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(convs) == len(norms) == 49
    assert all(isinstance(m, FastConv2d) for m in convs)
    assert all(isinstance(m, FoldedBatchNorm) for m in norms)


@pytest.mark.parametrize("bf16", [False, True])
def test_strided_pointwise_convolution_of_few_channels_is_trained(bf16: bool) -> None:
    """At this size oneDNN's own gradient ends the process (torch 2.14, x86)."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 48, 1, stride=2, bias=False), nn.BatchNorm2d(48)).eval()
    fast = copy.deepcopy(plain)
    fold_batch_norms(fast, lambda: [fast(torch.zeros(1, 3, 16, 16))])
    x = torch.randn(8, 3, 128, 128).contiguous(memory_format=torch.channels_last)
    fast.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = fast(x)
    out.float().square().sum().backward()
    weight = plain[0].weight
    assert isinstance(weight, Tensor) and isinstance(fast[0].weight, Tensor)
    normed = plain[1](F.conv2d(x.contiguous(), weight, stride=2))
    (expected,) = torch.autograd.grad(normed.square().sum(), weight)
    torch.testing.assert_close(out.float(), normed, rtol=0.02, atol=0.02)
    assert fast[0].weight.grad is not None
    difference = (fast[0].weight.grad - expected).norm() / expected.norm()
    assert difference < (0.02 if bf16 else 1e-5)
