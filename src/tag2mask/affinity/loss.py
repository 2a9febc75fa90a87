"""What AffinityNet learns: which pairs of cells are alike, from maps with unsure cells.

Ahn and Kwak, CVPR 2018, section 3.2 and the published code: pairs are sorted into both background,
both the same foreground class, and different; each kind has a mean of its own, so that the many
background pairs don't outweigh the others. Pairs with an unsure end (255) count nowhere.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tag2mask.affinity.network import AffinityNet
from tag2mask.affinity.pairs import second_ends, sources
from tag2mask.classes import BACKGROUND, IGNORE
from tag2mask.nn.mean import Mean

EPSILON = 1e-5

AFFINITY_WEIGHTS = {"bg": 0.25, "fg": 0.25, "neg": 0.5}
"""Weights of the terms in the total, as published."""


class PairLabels(NamedTuple):
    """Kinds of pairs, each bool (b, offsets, h, w).

    Attributes:
        bg: both ends background.
        fg: both ends the same foreground class.
        neg: ends of different kind.
    """

    bg: Tensor
    fg: Tensor
    neg: Tensor


class AffinityObjective(nn.Module):
    """An AffinityNet and its loss terms, as one module for the training loop.

    Args:
        net: the network.
        radius: of the pairs.
        published: the published choice of pairs, and padding seen as any other cell.
    """

    def __init__(self, net: AffinityNet, *, radius: int, published: bool = False) -> None:
        super().__init__()
        self.net = net
        self.radius = radius
        self.published = published

    def forward(self, image: Tensor, labels: Tensor, valid: Tensor) -> dict[str, Mean]:
        """Loss terms of a batch.

        Args:
            image: normalized, (b, 3, H, W).
            labels: mask ids (b, h, w) on the network's grid; 255 = unsure or padding.
            valid: bool (b, H, W), False on padding.
        """
        affinity = self.net(
            image,
            radius=self.radius,
            published=self.published,
            valid=None if self.published else valid,
        )
        return affinity_terms(affinity, labels, radius=self.radius, published=self.published)


def pair_labels(labels: Tensor, radius: int, published: bool) -> PairLabels:
    """Sort pairs by the labels of their ends.

    Args:
        labels: mask ids (b, h, w), integer; 0 background, 255 ignore.
        radius: of the pairs.
        published: see `sources`.
    """
    exist = torch.from_numpy(
        sources((labels.shape[1], labels.shape[2]), radius, published=published)
    )
    one, other = labels[:, None], second_ends(labels, radius, outside=IGNORE)
    known = exist.to(labels.device) & (one != IGNORE) & (other != IGNORE)
    same = known & (one == other)
    background = one == BACKGROUND
    return PairLabels(same & background, same & ~background, known & (one != other))


def affinity_terms(
    affinity: Tensor, labels: Tensor, *, radius: int, published: bool
) -> dict[str, Mean]:
    """Balanced cross entropy of the affinities (paper, section 3.2).

    Args:
        affinity: (b, offsets, h, w) in [0, 1].
        labels: mask ids (b, h, w), integer.
        radius: of the pairs.
        published: see `sources`.

    Returns:
        ``bg``, ``fg``, ``neg``; `AFFINITY_WEIGHTS` says how they add up. 0 where there is no such
        pair.
    """
    assert affinity.shape[2:] == labels.shape[1:], (affinity.shape, labels.shape)
    affinity = affinity.float()
    alike = -(affinity + EPSILON).log()
    different = -(1 + EPSILON - affinity).log()
    kinds = pair_labels(labels, radius, published)
    return {
        name: Mean((loss * kind).sum(), kind.sum().to(loss.dtype))
        for name, loss, kind in (
            ("bg", alike, kinds.bg),
            ("fg", alike, kinds.fg),
            ("neg", different, kinds.neg),
        )
    }
