"""Attention affinity: spreads CAMs along the attention of a ViT's late blocks.

Lin et al., CVPR 2023 (CLIP-ES, https://arxiv.org/abs/2212.09506), section 3.3; the mask of boxes
around each class is left out. It needs no training, in contrast to PCM.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tag2mask.nn.backbones.base import Backbone

SINKHORN_ROUNDS = 3
BLOCK_SHARE = 2 / 3
"""Share of the blocks, counted from the last, whose attentions are averaged (CLIP-ES: 8 of 12)."""


def has_attention(backbone: Backbone) -> bool:
    """Return whether a backbone is a ViT of timm, whose attentions can be read."""
    blocks = _blocks(backbone)
    return bool(blocks) and all(
        hasattr(getattr(block, "attn", None), "attn_drop") and hasattr(block.attn, "fused_attn")
        for block in blocks
    )


def attention_affinity(attentions: Sequence[Tensor], cells: int) -> Tensor:
    """Return the affinity of the cells of a photo.

    Mean over blocks and heads, made doubly stochastic, symmetrized, squared as a matrix.

    Args:
        attentions: of each block, (b, heads, N, N), rows of sum 1.
        cells: number of cells n; they are the last n tokens.

    Returns:
        float32 (b, n, n), symmetric.

    Example:
        >>> import torch
        >>> from tag2mask.seam.attention import attention_affinity
        >>> attention = torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]])[None, None]
        >>> attention_affinity([attention], cells=2)
        tensor([[[0.5000, 0.5000],
                 [0.5000, 0.5000]]])
    """
    means = [attention.float().mean(dim=1)[:, -cells:, -cells:] for attention in attentions]
    affinity = torch.stack(means).mean(dim=0)  # (b, n, n)
    for _ in range(SINKHORN_ROUNDS):
        affinity = affinity / affinity.sum(dim=1, keepdim=True)
        affinity = affinity / affinity.sum(dim=2, keepdim=True)
    affinity = (affinity + affinity.mT) / 2
    return affinity @ affinity


class AttentionSpread:
    """Reads the attentions of a ViT in a forward pass, and spreads the CAMs of the pass by them.

    Passes in several threads don't disturb each other. The blocks that are read compute their
    attention step by step from then on, which differs from the fused one by rounding.

    Args:
        backbone: one for which `has_attention` holds, in evaluation mode.
    """

    def __init__(self, backbone: Backbone) -> None:
        blocks = _blocks(backbone)
        self._pass = threading.local()
        for block in blocks[-round(BLOCK_SHARE * len(blocks)) :]:
            block.attn.fused_attn = False
            block.attn.attn_drop.register_forward_hook(self._record)

    def _record(self, _module: nn.Module, _inputs: Any, attention: Tensor) -> None:
        recorded: list[Tensor] | None = getattr(self._pass, "attentions", None)
        if recorded is not None:
            recorded.append(attention)

    @contextmanager
    def reading(self) -> Iterator[list[Tensor]]:
        """Collect the attentions of this thread's forward pass, in the order of the blocks."""
        found: list[Tensor] = []
        self._pass.attentions = found
        try:
            yield found
        finally:
            self._pass.attentions = None


def spread_cam(cam: Tensor, attentions: Sequence[Tensor]) -> Tensor:
    """Spread CAMs along attentions.

    Args:
        cam: (b, c, h, w) on the grid of the tokens; scores below 0 are taken as 0.
        attentions: see `attention_affinity`.

    Returns:
        float32 (b, c, h, w).
    """
    maps = F.relu(cam.float()).flatten(2)  # (b, c, n)
    with torch.autocast(cam.device.type, enabled=False):
        return (maps @ attention_affinity(attentions, maps.shape[2])).view(cam.shape)


def _blocks(backbone: Backbone) -> list[Any]:
    blocks = getattr(getattr(backbone, "net", None), "blocks", None)
    return list(blocks) if isinstance(blocks, nn.Sequential | nn.ModuleList) else []
