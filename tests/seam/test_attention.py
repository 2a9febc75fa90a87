"""Attention affinity: a doubly stochastic matrix that spreads maps, read from a ViT."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from PIL import Image

from tag2mask.nn.backbones.timm_backbone import TimmBackbone
from tag2mask.seam.attention import (
    AttentionSpread,
    attention_affinity,
    has_attention,
    spread_cam,
)
from tag2mask.seam.multi_scale_inference import PUBLISHED_INFERENCE, MultiScaleInference
from tag2mask.seam.network import SeamNet

SETTINGS = replace(
    PUBLISHED_INFERENCE,
    branch="attention",
    published=False,
    scales=(1.0,),
    long_side=64,
    map_stride=4,
)


def vit() -> TimmBackbone:
    torch.manual_seed(0)
    return TimmBackbone("test_vit", output_stride="auto").eval()


def test_affinity_is_that_of_the_formula() -> None:
    torch.manual_seed(0)
    attentions = [torch.rand(2, 3, 7, 7).softmax(dim=-1) for _ in range(2)]
    found = attention_affinity(attentions, cells=6)
    for photo in range(2):
        matrix = sum(a[photo, head] for a in attentions for head in range(3))[1:, 1:] / 6
        for _ in range(3):
            matrix = matrix / matrix.sum(0)
            matrix = matrix / matrix.sum(1)[:, None]
        matrix = (matrix + matrix.T) / 2
        torch.testing.assert_close(found[photo], matrix @ matrix)
    torch.testing.assert_close(found, found.mT)
    torch.testing.assert_close(found.sum(dim=2), torch.ones(2, 6), atol=0.01, rtol=0)


def test_scores_go_where_the_attention_goes() -> None:
    attention = torch.full((1, 1, 4, 4), 0.01)
    attention[..., :2, :2] = attention[..., 2:, 2:] = 0.49
    cam = torch.tensor([1.0, 0.0, -5.0, 0.0]).view(1, 1, 2, 2)
    found = spread_cam(cam, [attention]).flatten()
    assert found.min() >= 0
    assert found[0] == pytest.approx(found[1]) and found[1] > 10 * found[2]


def test_attentions_are_those_of_the_last_blocks() -> None:
    backbone = vit()
    assert has_attention(backbone)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        fused = backbone(image).last
        spread = AttentionSpread(backbone)
        with spread.reading() as attentions:
            last = backbone(image).last
        backbone(image)  # not read
    torch.testing.assert_close(last, fused, atol=1e-4, rtol=1e-4)
    assert len(attentions) == 4  # of 6 blocks
    for attention in attentions:
        assert attention.shape[2:] == (25, 25)  # 4 x 6 cells and a class token
        torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:3]))


def test_threads_read_their_own_attentions() -> None:
    backbone = vit()
    spread = AttentionSpread(backbone)
    images = [torch.randn(1, 3, 32, 16 * (1 + number)) for number in range(6)]

    def read(image: torch.Tensor) -> list[torch.Tensor]:
        with torch.no_grad(), spread.reading() as attentions:
            backbone(image)
        return attentions

    alone = [read(image) for image in images]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(read, images))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other)


def test_other_networks_have_no_attention() -> None:
    assert not has_attention(TimmBackbone("resnet10t", output_stride=16))


def test_inference_spreads_the_plain_maps() -> None:
    net = SeamNet(vit(), 3, pcm=None, dropout=0.5, pooling="avg", centered=False).eval()
    photo = Image.effect_noise((64, 48), 60).convert("RGB")
    cpu = torch.device("cpu")
    (plain,) = MultiScaleInference(net, replace(SETTINGS, branch="plain"), cpu).maps(
        [photo], tags=[(0, 2)]
    )
    (spread,) = MultiScaleInference(net, SETTINGS, cpu).maps([photo], tags=[(0, 2)])
    assert spread.scores.shape == plain.scores.shape
    assert abs(spread.scores - plain.scores).max() > 0.01
    assert spread.probabilities == pytest.approx(plain.probabilities, abs=1e-4)
