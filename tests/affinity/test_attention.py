"""Affinities of a photo from the attention of a ViT, and the walk along them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tag2mask.affinity.attention import AttentionInference
from tag2mask.affinity.inference import PhotoAffinity
from tag2mask.nn.backbones.timm_backbone import TimmBackbone

CPU = torch.device("cpu")


def vit(name: str = "test_vit") -> TimmBackbone:
    torch.manual_seed(0)
    return TimmBackbone(name, output_stride="auto").eval()


def transcription(backbone: TimmBackbone, image: Tensor, cells: int) -> np.ndarray[Any, Any]:
    """Return CLIP-ES's matrix of a photo, from the queries and keys of the last two thirds.

    After ``clip_es`` of https://github.com/linyq2117/CLIP-ES (``generate_cams_voc12.py``): mean of
    the attentions, three rounds of both normalizations, the mean with the transposed, its square.
    """
    attentions: list[np.ndarray[Any, Any]] = []

    def record(attn: Any, qkv: Tensor) -> None:
        tokens = qkv.shape[1]
        parts = qkv[0].double().numpy().reshape(tokens, 3, attn.num_heads, -1)
        query, key = parts[:, 0], parts[:, 1]
        heads = []
        for head in range(attn.num_heads):
            scores = query[:, head] @ key[:, head].T / np.sqrt(query.shape[-1])
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            heads.append(weights / weights.sum(axis=1, keepdims=True))
        attentions.append(np.mean(heads, axis=0))

    hooks = [
        block.attn.qkv.register_forward_hook(lambda _, __, out, attn=block.attn: record(attn, out))
        for block in backbone.net.blocks
    ]
    with torch.no_grad():
        backbone(image)
    for hook in hooks:
        hook.remove()
    matrix = np.mean(attentions[len(attentions) // 3 :], axis=0)[-cells:, -cells:]
    for _ in range(3):
        matrix = matrix / matrix.sum(axis=0, keepdims=True)
        matrix = matrix / matrix.sum(axis=1, keepdims=True)
    matrix = (matrix + matrix.T) / 2
    return np.asarray(matrix @ matrix)


@pytest.mark.parametrize("steps", [0, 1, 3, 80])
def test_the_walk_is_that_of_a_transcription(steps: int) -> None:
    backbone = vit()
    photo = Image.effect_noise((61, 45), 80).convert("RGB")
    size, grid = (48, 64), (3, 4)
    pixels = np.asarray(photo.resize((64, 48), Image.Resampling.BICUBIC)) / 255
    image = torch.from_numpy((pixels - backbone.mean) / backbone.std).float()
    matrix = transcription(backbone, image.permute(2, 0, 1)[None], 12)

    found = AttentionInference(backbone, CPU, long_side=64).affinity(photo)
    assert found.radius is None
    assert (found.size, found.grid) == (size, grid)
    np.testing.assert_allclose(found.affinity, matrix, atol=1e-6)

    maps = np.random.default_rng(0).random((3, *grid), dtype=np.float32)
    wanted = maps.reshape(3, 12).astype(np.float64)
    transition = matrix / matrix.sum(axis=0, keepdims=True)  # columns of sum 1
    for _ in range(steps):
        wanted = wanted @ transition
    walked = found.walk(beta=8.0).run(torch.from_numpy(maps), steps=steps)
    np.testing.assert_allclose(walked, wanted.reshape(3, *grid), atol=1e-5)


def test_a_photo_keeps_its_own_size_without_a_long_side() -> None:
    photo = Image.effect_noise((100, 33), 80).convert("RGB")
    found = AttentionInference(vit(), CPU, long_side=None).affinity(photo)
    assert (found.size, found.grid) == ((32, 96), (2, 6))
    assert found.affinity.shape == (12, 12)
    back = found.from_grid(torch.rand(2, 2, 6), (33, 100))
    assert back.shape == (2, 33, 100)


def test_a_photo_of_one_cell_is_left_as_it_is() -> None:
    found = AttentionInference(vit(), CPU, long_side=None).affinity(Image.new("RGB", (3, 9)))
    maps = torch.rand(2, 1, 1)
    torch.testing.assert_close(found.walk(beta=1.0).run(maps, steps=5), maps)


def test_maps_go_where_the_affinities_go() -> None:
    """Affinities within the left and the right half keep scores in their half."""
    left = torch.tensor([0, 0, 1, 1] * 3, dtype=torch.bool)
    found = PhotoAffinity((left[:, None] == left[None]).float(), None, (48, 64), 16)
    maps = torch.zeros(1, 3, 4)
    maps[0, 1, 0] = 1.0
    walked = found.walk(beta=1.0).run(maps, steps=2)[0]
    torch.testing.assert_close(walked[:, :2], torch.full((3, 2), 1 / 6))
    torch.testing.assert_close(walked[:, 2:], torch.zeros(3, 2))
