"""The losses that train a segmentation network.

The cross-entropy compares the labeled pixels with their labels. These are often pseudo masks, in
which unsure pixels are 255; such pixels are ignored. The loss of absent classes also teaches what
the tags say about every pixel: that it shows the background or a tag of its photo.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tag2mask.classes import IGNORE
from tag2mask.nn.mean import Mean
from tag2mask.segmentation.networks import SegmentationNet


class SegmenterObjective(nn.Module):
    """A segmentation network and its losses, as one module for the training loop.

    Args:
        net: gives logits on a grid of any stride.
        stride: image pixels per cell at which logits and labels are compared. At a stride over 1
            each cell has the label of the pixel at its center; masks made from maps of this stride
            hold little more.
    """

    def __init__(self, net: SegmentationNet, stride: int) -> None:
        super().__init__()
        self.net = net
        self.stride = stride

    def forward(
        self,
        image: Tensor,
        labels: Tensor,
        photo_weights: Tensor | None = None,
        tags: Tensor | None = None,
        tags_apply: Tensor | None = None,
    ) -> dict[str, Mean]:
        """Compute the losses of a batch.

        Args:
            image: normalized, (b, 3, H, W).
            labels: mask ids, int64 (b, H, W); 255 for unlabeled pixels.
            photo_weights: weight of the pixels of each photo in the cross-entropy, (b,); None: all
                are 1.
            tags: 0/1, float (b, C); None: no loss of absent classes.
            tags_apply: bool (b, H, W), the pixels that the tags apply to; needed with ``tags``.
        """
        logits = self.net.logits_at(image, self.stride).float()
        center = slice(self.stride // 2, None, self.stride)
        on_grid = None if tags_apply is None else tags_apply[:, center, center]
        return self.losses(logits, labels[:, center, center], photo_weights, tags, on_grid)

    def losses(
        self,
        logits: Tensor,
        labels: Tensor,
        photo_weights: Tensor | None,
        tags: Tensor | None,
        tags_apply: Tensor | None,
    ) -> dict[str, Mean]:
        """Compute the losses from logits (b, C+1, H / s, W / s); the others as for `forward`."""
        found = {"cross_entropy": cross_entropy(logits, labels, photo_weights)}
        if tags is not None:
            assert tags_apply is not None
            found["absent"] = absent_classes(logits, tags, tags_apply)
        return found


def cross_entropy(logits: Tensor, labels: Tensor, photo_weights: Tensor | None = None) -> Mean:
    """Compute the cross-entropy of the labeled pixels.

    Args:
        logits: (b, C+1, h, w).
        labels: mask ids, int64 (b, h, w); 255 for unlabeled pixels.
        photo_weights: weight of the pixels of each photo, (b,); None: all are 1.

    Returns:
        The weighted sum over the labeled pixels and the sum of their weights.
    """
    labeled = labels != IGNORE
    weights = labeled.to(logits.dtype)
    if photo_weights is not None:
        weights = weights * photo_weights.to(logits.dtype)[:, None, None]
    # Not torch's own reduction, which on GPUs is nondeterministic.
    loss = F.nll_loss(logits.log_softmax(dim=1), labels * labeled, reduction="none")
    return Mean((loss * weights).sum(), weights.sum())


def absent_classes(logits: Tensor, tags: Tensor, tags_apply: Tensor) -> Mean:
    """Compute the loss of classes that the tags exclude, on labeled and unlabeled pixels alike.

    With p the probabilities of a pixel, and "present" the background and the tags of its photo::

        -log(1 - sum over absent c of p_c) = -log(sum over present c of p_c)

    This is the marginal cross-entropy of Shi et al., Medical Image Analysis 2021
    (https://arxiv.org/abs/2007.03868), for a pixel of which only the possible classes are known.

    Args:
        logits: (b, C+1, h, w).
        tags: 0/1, float (b, C).
        tags_apply: bool (b, h, w), the pixels that count.

    Returns:
        The sum over these pixels, and their number.
    """
    present = torch.cat([torch.ones_like(tags[:, :1]), tags], dim=1).bool()  # (b, C+1)
    inside = logits.masked_fill(~present[:, :, None, None], -torch.inf).logsumexp(dim=1)
    loss = logits.logsumexp(dim=1) - inside  # (b, h, w)
    return Mean((loss * tags_apply).sum(), tags_apply.sum().to(loss.dtype))
