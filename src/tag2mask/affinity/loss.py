"""The loss of AffinityNet: cross entropy over three kinds of pairs of cells.

Ahn and Kwak, CVPR 2018 (https://arxiv.org/abs/1803.10464), section 3.2. The authors' code is
``train_aff.py`` and ``voc12/data.py`` (``ExtractAffinityLabelInRadius``) of
https://github.com/jiwoon-ahn/psa.

From label maps with unsure cells (`tag2mask.affinity.labels`), `pair_labels` sorts pairs into both
ends background, both ends the same foreground class, and ends of different classes. Pairs with an
unsure end (255) are ignored. With a the affinity, and a mean over the pairs of each kind::

    L = mean_bg(-log a) / 4 + mean_fg(-log a) / 4 + mean_neg(-log(1 - a)) / 2

Each kind has its own mean, so that the many background pairs do not outweigh the others.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tag2mask.affinity.network import AffinityNet
from tag2mask.affinity.pairs import existing_pairs, second_ends
from tag2mask.classes import BACKGROUND, IGNORE
from tag2mask.nn.mean import Mean

EPSILON = 1e-5

AFFINITY_WEIGHTS = {"bg": 0.25, "fg": 0.25, "neg": 0.5}
"""Published weights of the terms in the total."""


class PairLabels(NamedTuple):
    """Masks of the three kinds of pairs, each bool (b, offsets, h, w).

    Attributes:
        bg: both ends are background.
        fg: both ends are the same foreground class.
        neg: the ends are of different classes, background included.
    """

    bg: Tensor
    fg: Tensor
    neg: Tensor


class AffinityObjective(nn.Module):
    """An AffinityNet and its loss terms, as one module for the training loop.

    Args:
        net: the network.
        radius: radius of the pairs in cells (published: 5).
        published: the authors' rule for pairs at the border, and padding as any other cell.
    """

    def __init__(self, net: AffinityNet, *, radius: int, published: bool) -> None:
        super().__init__()
        self.net = net
        self.radius = radius
        self.published = published

    def forward(self, image: Tensor, labels: Tensor, valid: Tensor) -> dict[str, Mean]:
        """Compute the loss terms of a batch; see `affinity_terms`.

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
        labels: mask ids (b, h, w), integer; 0 background, 255 unsure.
        radius: radius of the pairs in cells.
        published: the authors' rule for pairs at the border; see `existing_pairs`.

    Example:
        >>> import torch
        >>> from tag2mask.affinity.loss import pair_labels
        >>> kinds = pair_labels(torch.tensor([[[0, 0, 3, 255]]]), radius=2, published=False)
        >>> kinds.bg[0, 0].tolist(), kinds.neg[0, 0].tolist()  # pairs to the right
        ([[True, False, False, False]], [[False, True, False, False]])
    """
    exist = torch.from_numpy(
        existing_pairs((labels.shape[1], labels.shape[2]), radius, published=published)
    )
    one, other = labels[:, None], second_ends(labels, radius, outside=IGNORE)
    known = exist.to(labels.device) & (one != IGNORE) & (other != IGNORE)  # (b, offsets, h, w)
    same = known & (one == other)
    background = one == BACKGROUND
    return PairLabels(same & background, same & ~background, known & (one != other))


def affinity_terms(
    affinity: Tensor, labels: Tensor, *, radius: int, published: bool
) -> dict[str, Mean]:
    """Compute the balanced cross entropy of affinities.

    Section 3.2 of https://arxiv.org/abs/1803.10464. Formula, with a the affinity of a pair::

        bg, fg = mean over pairs of one label of  -log(a + 1e-5)
        neg    = mean over pairs of different labels of  -log(1 + 1e-5 - a)

    The total weighs them by `AFFINITY_WEIGHTS`, as the authors' ``train_aff.py`` does.

    Args:
        affinity: (b, offsets, h, w) in [0, 1].
        labels: mask ids (b, h, w), integer; 0 background, 255 unsure.
        radius: radius of the pairs in cells.
        published: the authors' rule for pairs at the border; see `existing_pairs`.

    Returns:
        The terms ``bg``, ``fg`` and ``neg``; 0 for a kind without pairs.

    Example:
        >>> import torch
        >>> from tag2mask.affinity.loss import AFFINITY_WEIGHTS, affinity_terms
        >>> affinity = torch.full((1, 4, 1, 4), 0.5)  # 4 offsets, 1 x 4 cells
        >>> labels = torch.tensor([[[0, 0, 3, 3]]])
        >>> terms = affinity_terms(affinity, labels, radius=2, published=False)
        >>> {name: round(term.value.item(), 3) for name, term in terms.items()}
        {'bg': 0.693, 'fg': 0.693, 'neg': 0.693}
        >>> total = sum(AFFINITY_WEIGHTS[name] * term.value for name, term in terms.items())
        >>> round(total.item(), 3)
        0.693
    """
    assert affinity.shape[2:] == labels.shape[1:], (affinity.shape, labels.shape)
    affinity = affinity.float()
    same = -(affinity + EPSILON).log()  # (b, offsets, h, w)
    different = -(1 + EPSILON - affinity).log()
    kinds = pair_labels(labels, radius, published)
    return {
        name: Mean((loss * kind).sum(), kind.sum().to(loss.dtype))
        for name, loss, kind in (
            ("bg", same, kinds.bg),
            ("fg", same, kinds.fg),
            ("neg", different, kinds.neg),
        )
    }
