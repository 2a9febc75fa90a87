"""The attention of a ViT's late blocks as affinities of the cells of a photo.

Lin et al., CVPR 2023 (CLIP-ES, https://arxiv.org/abs/2212.09506), section 3.3; the mask of boxes
around each class is left out. It needs no training, in contrast to PCM and AffinityNet.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tag2mask.errors import RecipeError
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


def check_attention(backbone: Backbone, *, where: str, otherwise: str) -> None:
    """Check that the attentions of a backbone can be read.

    Args:
        backbone: the backbone.
        where: recipe key that asks for them.
        otherwise: a value of it that every backbone serves.

    Raises:
        RecipeError: it is no ViT.
    """
    if not has_attention(backbone):
        raise RecipeError(
            "the CAM network's backbone is no ViT and has no attention to spread maps along",
            where=where,
            fix=f"Set it to {otherwise}, or train with a ViT, such as deit_small_patch16_224.",
        )


def attention_affinity(attentions: Sequence[Tensor], cells: int) -> Tensor:
    """Return the affinity of the cells of a photo.

    Mean over blocks and heads, made doubly stochastic, symmetrized, squared as a matrix.

    Args:
        attentions: of each block, the mean over its heads, (b, N, N), rows of sum 1.
        cells: number of cells n; they are the last n tokens.

    Returns:
        float32 (b, n, n), symmetric.

    Example:
        >>> import torch
        >>> from tag2mask.nn.backbones.attention import attention_affinity
        >>> attention = torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]])[None]
        >>> attention_affinity([attention], cells=2)
        tensor([[[0.5000, 0.5000],
                 [0.5000, 0.5000]]])
    """
    cut = [attention[:, -cells:, -cells:].float() for attention in attentions]
    with torch.autocast(cut[0].device.type, enabled=False):
        affinity = torch.stack(cut).mean(dim=0)  # (b, n, n)
        for _ in range(SINKHORN_ROUNDS):
            affinity = affinity / affinity.sum(dim=1, keepdim=True)
            affinity = affinity / affinity.sum(dim=2, keepdim=True)
        affinity = (affinity + affinity.mT) / 2
        return affinity @ affinity


class AttentionReader:
    """Reads the attentions of a ViT's late blocks in a forward pass.

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
            recorded.append(attention.float().mean(dim=1))

    @contextmanager
    def reading(self) -> Iterator[list[Tensor]]:
        """Collect the attentions of this thread's forward pass, in the order of the blocks.

        Each is the mean over the heads of a block, float32 (b, N, N).
        """
        found: list[Tensor] = []
        self._pass.attentions = found
        try:
            yield found
        finally:
            self._pass.attentions = None


def _blocks(backbone: Backbone) -> list[Any]:
    blocks = getattr(getattr(backbone, "net", None), "blocks", None)
    return list(blocks) if isinstance(blocks, nn.Sequential | nn.ModuleList) else []
