"""Attention affinity: a doubly stochastic matrix, read from the late blocks of a ViT."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from tag2mask.errors import RecipeError
from tag2mask.nn.backbones.attention import (
    AttentionReader,
    attention_affinity,
    check_attention,
    has_attention,
)
from tag2mask.nn.backbones.timm_backbone import TimmBackbone


def vit() -> TimmBackbone:
    torch.manual_seed(0)
    return TimmBackbone("test_vit", output_stride="auto").eval()


def test_affinity_is_that_of_the_formula() -> None:
    torch.manual_seed(0)
    attentions = [torch.rand(2, 7, 7).softmax(dim=-1) for _ in range(3)]
    found = attention_affinity(attentions, cells=6)
    for photo in range(2):
        matrix = sum(attention[photo] for attention in attentions)[1:, 1:] / 3
        for _ in range(3):
            matrix = matrix / matrix.sum(0)
            matrix = matrix / matrix.sum(1)[:, None]
        matrix = (matrix + matrix.T) / 2
        torch.testing.assert_close(found[photo], matrix @ matrix)
    torch.testing.assert_close(found, found.mT)
    torch.testing.assert_close(found.sum(dim=2), torch.ones(2, 6), atol=0.01, rtol=0)


def test_the_affinity_is_float32_in_mixed_precision() -> None:
    attentions = [torch.rand(1, 9, 9).softmax(dim=-1)]
    with torch.autocast("cpu", torch.bfloat16):
        found = attention_affinity(attentions, cells=9)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, attention_affinity(attentions, cells=9))


def test_attentions_are_those_of_the_last_blocks() -> None:
    """Compare with the softmax of each block's queries and keys."""
    backbone = vit()
    assert has_attention(backbone)
    wanted: list[Tensor] = []

    def record(attn: torch.nn.Module, _: object, qkv: Tensor) -> None:
        query, key, _value = qkv.view(1, 25, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
        scores = (query @ key.mT) / query.shape[-1] ** 0.5
        wanted.append(scores.softmax(dim=-1).mean(dim=1))

    for block in backbone.net.blocks:
        attn = block.attn
        attn.qkv.register_forward_hook(lambda _, i, o, attn=attn: record(attn, i, o))
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        fused = backbone(image).last
        wanted.clear()
        reader = AttentionReader(backbone)
        with reader.reading() as attentions:
            last = backbone(image).last
        assert len(wanted) == 6
        backbone(image)  # not read
    torch.testing.assert_close(last, fused, atol=1e-4, rtol=1e-4)
    assert len(attentions) == 4  # of 6 blocks
    for attention, one in zip(attentions, wanted[2:6], strict=True):
        assert attention.shape == (1, 25, 25)  # 4 x 6 cells and a class token
        torch.testing.assert_close(attention, one)


def test_threads_read_their_own_attentions() -> None:
    backbone = vit()
    reader = AttentionReader(backbone)
    images = [torch.randn(1, 3, 32, 16 * (1 + number)) for number in range(6)]

    def read(image: Tensor) -> list[Tensor]:
        with torch.no_grad(), reader.reading() as attentions:
            backbone(image)
        return attentions

    alone = [read(image) for image in images]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(read, images))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other)


def test_other_networks_have_no_attention() -> None:
    backbone = TimmBackbone("resnet10t", output_stride=16)
    assert not has_attention(backbone)
    with pytest.raises(RecipeError, match=r"no ViT.*walk\.affinity.*Set it to trained"):
        check_attention(backbone, where="walk.affinity", otherwise="trained")
    check_attention(vit(), where="walk.affinity", otherwise="trained")
