"""DeepLab v1: compared with torch functions; output size, parameters and initialization."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from toy_backbone import PointwiseBackbone, random

from tag2mask.errors import WeightsError
from tag2mask.segmentation.deeplab_v1 import DeepLabV1, build_deeplab_v1, train_as_published

STRIDE = 4


def make_net() -> DeepLabV1:
    torch.manual_seed(0)
    net = DeepLabV1(PointwiseBackbone(STRIDE, size_multiple=STRIDE), 3)
    for module in (net.bn_fov, net.bn_fov2):  # non-trivial statistics
        module.running_mean.copy_(random(512, seed=1))
        module.running_var.copy_(random(512, seed=2).abs() + 0.5)
    return net.eval()


def logits_by_functions(net: DeepLabV1, image: torch.Tensor) -> torch.Tensor:
    """Compute the network with torch functions, as in the paper."""
    x = net.backbone(image).last
    x = F.conv2d(x, net.conv_fov.weight, padding=12, dilation=12)
    x = F.batch_norm(
        x, net.bn_fov.running_mean, net.bn_fov.running_var, net.bn_fov.weight, net.bn_fov.bias
    ).clamp(min=0)
    x = torch.einsum("bihw,oi->bohw", x, net.conv_fov2.weight[:, :, 0, 0])
    x = F.batch_norm(
        x, net.bn_fov2.running_mean, net.bn_fov2.running_var, net.bn_fov2.weight, net.bn_fov2.bias
    ).clamp(min=0)
    x = F.conv2d(x, net.cls_conv.weight, net.cls_conv.bias)
    return F.interpolate(x, image.shape[2:], mode="bilinear", align_corners=True)


@pytest.mark.parametrize("size", [(64, 80), (62, 51)])
def test_equals_torch_functions(size: tuple[int, int]) -> None:
    net, image = make_net(), random(2, 3, *size)
    logits = net(image)
    assert logits.shape == (2, 4, *size)
    torch.testing.assert_close(logits, logits_by_functions(net, image))


def test_field_of_view_has_dilation_12() -> None:
    net, image = make_net(), random(1, 3, STRIDE * 30, STRIDE * 30)
    other = image.clone()
    other[:, :, STRIDE * 12 : STRIDE * 13, STRIDE * 15 : STRIDE * 16] += 5.0
    cells = net.conv_fov(net.backbone(other).last) - net.conv_fov(net.backbone(image).last)
    moved = cells.abs().sum(dim=(0, 1)) > 1e-4
    assert {tuple(cell) for cell in moved.nonzero().tolist()} == {
        (row, column) for row in (0, 12, 24) for column in (3, 15, 27)
    }


def test_dropout_only_in_training() -> None:
    net, image = make_net(), random(1, 3, 32, 32)
    assert torch.equal(net(image), net(image))
    net.dropout.train()
    assert not torch.equal(net(image), net(image))


def test_new_parameters_are_those_of_the_head() -> None:
    net = make_net()
    new = {id(parameter) for parameter in net.new_parameters()}
    named = {name for name, parameter in net.named_parameters() if id(parameter) in new}
    assert named == {name for name, _ in net.named_parameters() if not name.startswith("backbone.")}
    assert {id(p) for p in net.frozen(1)} == {id(p) for p in net.backbone.frozen()}


def test_normalization_and_size_multiple() -> None:
    net = make_net()
    assert (net.mean, net.std, net.size_multiple) == (
        PointwiseBackbone.mean,
        PointwiseBackbone.std,
        STRIDE,
    )


def test_initial_predictions_favor_no_class() -> None:
    torch.manual_seed(0)
    logits = DeepLabV1(PointwiseBackbone(STRIDE), 3)(random(2, 3, 64, 64))
    loss = F.cross_entropy(logits, torch.zeros(2, 64, 64, dtype=torch.long))
    assert loss.item() == pytest.approx(torch.tensor(4.0).log().item(), abs=0.2)


def test_published_initialization() -> None:
    """All of the head as by ``kaiming_normal_(mode="fan_out")``, the bias as by torch."""
    torch.manual_seed(0)
    net = DeepLabV1(PointwiseBackbone(STRIDE), 20)
    train_as_published(net)
    for layer, fan_out in ((net.conv_fov, 512 * 9), (net.conv_fov2, 512), (net.cls_conv, 21)):
        assert layer.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
        assert layer.weight.mean().item() == pytest.approx(0, abs=0.01)
    bias, bound = net.cls_conv.bias, 512**-0.5
    assert 0.7 * bound < bias.abs().max().item() <= bound
    assert bias.abs().min().item() < 0.3 * bound


def test_published_batch_norms_learn_no_affine_parameters() -> None:
    """A step of training moves the running statistics by 3e-4, as the authors' momentum."""
    torch.manual_seed(0)
    net = DeepLabV1(PointwiseBackbone(STRIDE), 3).train()
    train_as_published(net)
    assert {name for name, p in net.named_parameters() if not p.requires_grad} == {
        f"{norm}.{kind}" for norm in ("bn_fov", "bn_fov2") for kind in ("weight", "bias")
    }
    image = random(2, 3, 32, 32)
    F.cross_entropy(net(image), torch.zeros(2, 32, 32, dtype=torch.long)).backward()
    cells = net.conv_fov(net.backbone(image).last)
    torch.testing.assert_close(net.bn_fov.running_mean, 3e-4 * cells.mean(dim=(0, 2, 3)))
    variance = 1 - 3e-4 + 3e-4 * cells.var(dim=(0, 2, 3))
    torch.testing.assert_close(net.bn_fov.running_var, variance)


@pytest.mark.parametrize("weights", ["packaged", "hub"])
def test_resnet38_has_no_packaged_weights(weights: str) -> None:
    with pytest.raises(WeightsError, match="resnet38"):
        build_deeplab_v1(3, weights=weights)
