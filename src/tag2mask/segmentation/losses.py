"""The loss that trains a segmentation network: cross-entropy over the labeled pixels.

Labels are often pseudo masks, in which unsure pixels are 255; these are ignored.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tag2mask.classes import IGNORE
from tag2mask.nn.mean import Mean
from tag2mask.segmentation.networks import SegmentationNet


class SegmenterObjective(nn.Module):
    """A segmentation network and its loss, as one module for the training loop.

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
        self, image: Tensor, labels: Tensor, photo_weights: Tensor | None = None
    ) -> dict[str, Mean]:
        """Compute the loss of a batch.

        Args:
            image: normalized, (b, 3, H, W).
            labels: mask ids, int64 (b, H, W); 255 for unlabeled pixels.
            photo_weights: weight of the pixels of each photo, (b,); None: all are 1.
        """
        logits = self.net.logits_at(image, self.stride).float()  # (b, C+1, H / s, W / s)
        center = slice(self.stride // 2, None, self.stride)
        return {"cross_entropy": cross_entropy(logits, labels[:, center, center], photo_weights)}


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
