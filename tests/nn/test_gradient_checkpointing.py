"""Gradient checkpointing: what a network keeps for the backward pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tag2mask.errors import RecipeError
from tag2mask.nn.backbones.build import build_backbone
from tag2mask.nn.backbones.timm_backbone import TimmBackbone
from tag2mask.nn.gradient_checkpointing import can_checkpoint, checkpoint_gradients, saved_bytes


def test_saved_bytes_are_those_of_the_kept_tensors() -> None:
    x = torch.randn(1000, requires_grad=True)
    assert saved_bytes(lambda: [x + 1]) == 0
    assert saved_bytes(lambda: [x.exp()]) == 4000  # its own result
    assert saved_bytes(lambda: [x * x.exp()]) == 8000
    assert saved_bytes(lambda: [x.view(10, 100).exp().exp()]) == 8000


def test_deeper_networks_need_little_more_memory() -> None:
    def kept(blocks: int, *, checkpointed: bool) -> int:
        torch.manual_seed(0)
        backbone = TimmBackbone("test_vit", output_stride="auto")
        backbone.net.blocks = nn.Sequential(*(backbone.net.blocks[i % 6] for i in range(blocks)))
        image = torch.randn(8, 3, 96, 96)
        if checkpointed:
            backbone.net.set_grad_checkpointing(True)
        return saved_bytes(lambda: backbone(image))

    usual = kept(12, checkpointed=False) - kept(6, checkpointed=False)
    less = kept(12, checkpointed=True) - kept(6, checkpointed=True)
    assert less < usual / 8  # the inputs of the blocks


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_are_the_same_in_mixed_precision(precision: torch.dtype) -> None:
    torch.manual_seed(0)
    backbone = TimmBackbone("test_vit", output_stride="auto")
    image = torch.randn(2, 3, 64, 48)

    def gradients() -> list[torch.Tensor]:
        backbone.zero_grad(set_to_none=True)
        with torch.autocast("cpu", precision, enabled=precision is not torch.float32):
            last = backbone(image).last
        last.float().square().mean().backward()
        return [p.grad.clone() for p in backbone.parameters() if p.grad is not None]

    usual = gradients()
    checkpoint_gradients(backbone.net, lambda: backbone(image), where="here")
    for one, other in zip(gradients(), usual, strict=True):
        assert torch.equal(one, other)


def test_modes_and_statistics_stay() -> None:
    torch.manual_seed(0)
    backbone = TimmBackbone("test_efficientnet", output_stride=16).train()
    next(module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)).eval()
    modes = [module.training for module in backbone.modules()]
    state = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    image = torch.randn(1, 3, 16, 16)
    checkpoint_gradients(backbone.net, lambda: backbone(image), where="here")
    assert [module.training for module in backbone.modules()] == modes
    assert len(set(modes)) == 2
    assert all(torch.equal(state[n], tensor) for n, tensor in backbone.state_dict().items())


def test_asking_whether_a_network_can_changes_nothing() -> None:
    torch.manual_seed(0)
    for name, stride, expected in (
        ("test_vit", "auto", True),
        ("test_efficientnet", 16, True),
        ("dla46_c", 32, False),
    ):
        backbone = TimmBackbone(name, output_stride=stride)
        image = torch.zeros(1, 3, 2 * backbone.size_multiple, 2 * backbone.size_multiple)
        before = saved_bytes(lambda backbone=backbone, image=image: backbone(image))
        assert can_checkpoint(backbone.net) == expected, name
        assert saved_bytes(lambda backbone=backbone, image=image: backbone(image)) == before
    assert not can_checkpoint(None)


def test_networks_that_cannot_are_named() -> None:
    resnet38 = build_backbone("resnet38", weights="none", output_stride=8)
    image = torch.zeros(1, 3, 16, 16)
    for model in (None, nn.Conv2d(3, 4, 3)):
        with pytest.raises(RecipeError, match=r"can't compute the activations.*\[train_cam\.grad"):
            checkpoint_gradients(
                model, lambda: resnet38(image), where="train_cam.gradient_checkpointing"
            )
