"""CAMs spread along the attention of a ViT."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from tag2mask.nn.backbones.timm_backbone import TimmBackbone
from tag2mask.seam.attention import spread_cam
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


def test_scores_go_where_the_attention_goes() -> None:
    attention = torch.full((1, 4, 4), 0.01)
    attention[..., :2, :2] = attention[..., 2:, 2:] = 0.49
    cam = torch.tensor([1.0, 0.0, -5.0, 0.0]).view(1, 1, 2, 2)
    found = spread_cam(cam, [attention]).flatten()
    assert found.min() >= 0
    assert found[0] == pytest.approx(found[1]) and found[1] > 10 * found[2]


def test_inference_spreads_the_plain_maps() -> None:
    torch.manual_seed(0)
    vit = TimmBackbone("test_vit", output_stride="auto")
    net = SeamNet(vit, 3, pcm=None, dropout=0.5, pooling="avg", centered=False).eval()
    photo = Image.effect_noise((64, 48), 60).convert("RGB")
    cpu = torch.device("cpu")
    (plain,) = MultiScaleInference(net, replace(SETTINGS, branch="plain"), cpu).maps(
        [photo], tags=[(0, 2)]
    )
    (spread,) = MultiScaleInference(net, SETTINGS, cpu).maps([photo], tags=[(0, 2)])
    assert spread.scores.shape == plain.scores.shape
    assert abs(spread.scores - plain.scores).max() > 0.01
    assert spread.probabilities == pytest.approx(plain.probabilities, abs=1e-4)
