"""What a segmentation network learns from label maps, which may be noisy and leave pixels out.

* Cross entropy over the labeled pixels; each may weigh as much as its label is sure, and classes
  may be balanced.
* Dice (Milletari et al., 3DV 2016) and Lovász-Softmax (Berman et al., CVPR 2018), which stand for
  the intersection over union, from segmentation-models-pytorch. Both are of a whole batch and not
  sums over its pixels: over several ranks the mean of the ranks' own values is taken, which is not
  that of one process with the same batch.
"""

from __future__ import annotations

from collections.abc import Mapping

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tag2mask.classes import IGNORE
from tag2mask.nn.mean import Mean
from tag2mask.segmentation.networks import SegmentationNet

_MULTICLASS = "multiclass"


class SegmenterObjective(nn.Module):
    """A segmentation network and its loss, as one module for the training loop.

    Args:
        net: gives logits (b, C+1, H, W).
        weights: of the terms ``cross_entropy``, ``dice`` and ``lovasz`` in the total; a term of
            weight 0 is not computed.
        class_weights: of the cross entropy, by mask id, (C+1,); None: all 1.
    """

    def __init__(
        self,
        net: SegmentationNet,
        weights: Mapping[str, float],
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.class_weights: Tensor | None
        self.net = net
        self.weights = {name: weight for name, weight in weights.items() if weight > 0}
        # No part of the network, so that it stands in no checkpoint.
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(
        self, image: Tensor, labels: Tensor, confidence: Tensor | None = None
    ) -> dict[str, Mean]:
        """Return the loss terms of a batch.

        Args:
            image: normalized, (b, 3, H, W).
            labels: mask ids, int64 (b, H, W); 255 for unlabeled pixels.
            confidence: weights of the pixels in the cross entropy, (b, H, W); None: all 1.
        """
        logits = self.net(image).float()
        terms = {}
        if "cross_entropy" in self.weights:
            terms["cross_entropy"] = cross_entropy(logits, labels, confidence, self.class_weights)
        if "dice" in self.weights:
            terms["dice"] = dice(logits, labels)
        if "lovasz" in self.weights:
            terms["lovasz"] = lovasz(logits, labels)
        return terms


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    pixel_weights: Tensor | None = None,
    class_weights: Tensor | None = None,
) -> Mean:
    """Weighted cross entropy of the labeled pixels.

    Args:
        logits: (b, C+1, h, w).
        labels: mask ids int64 (b, h, w); 255 = not labeled.
        pixel_weights: (b, h, w); None: all 1.
        class_weights: by mask id, (C+1,); None: all 1.

    Returns:
        The mean over pixels, each counted with its weights.
    """
    labeled = labels != IGNORE
    known = labels * labeled
    weights = labeled.to(logits.dtype)
    if pixel_weights is not None:
        weights = weights * pixel_weights
    if class_weights is not None:
        weights = weights * class_weights[known]
    # Not torch's own reduction, which on GPUs is nondeterministic.
    loss = F.nll_loss(logits.log_softmax(dim=1), known, reduction="none")
    return Mean((loss * weights).sum(), weights.sum())


def dice(logits: Tensor, labels: Tensor) -> Mean:
    """Dice loss: 1 - overlap, the mean over the classes that the labels show.

    Args:
        logits: (b, C+1, h, w).
        labels: mask ids int64 (b, h, w); 255 = not labeled.

    Returns:
        The classes' losses and their number.
    """
    classes = _shown(labels)
    if not classes:
        return _nothing(logits)
    loss = smp.losses.DiceLoss(_MULTICLASS, classes=classes, ignore_index=IGNORE)
    return _of_classes(loss(logits, labels), classes)


def lovasz(logits: Tensor, labels: Tensor) -> Mean:
    """Lovász-Softmax loss, a surrogate of 1 - IoU: the mean over the classes that the labels show.

    Args:
        logits: (b, C+1, h, w).
        labels: mask ids int64 (b, h, w); 255 = not labeled.

    Returns:
        The classes' losses and their number.
    """
    classes = _shown(labels)
    if not classes:
        return _nothing(logits)
    loss = smp.losses.LovaszLoss(_MULTICLASS, ignore_index=IGNORE)
    return _of_classes(loss(logits, labels), classes)


def balanced_weights(pixels: Tensor, balance: float) -> Tensor | None:
    """Weights of the classes by their share of the labeled pixels, to the power of ``-balance``.

    Args:
        pixels: labeled pixels of each mask id, (C+1,).
        balance: 0 .. 1; 1: every class weighs as much in all as any other.

    Returns:
        float32 (C+1,), 1 on the average pixel, 0 for classes without pixels; None: all 1.
    """
    if balance == 0:
        return None
    share = pixels.double() / pixels.sum().clamp(min=1)
    weights = torch.where(share > 0, share.clamp(min=1e-12) ** -balance, 0.0)
    return (weights / (weights * share).sum()).float()


def _shown(labels: Tensor) -> list[int]:
    """Mask ids that occur."""
    return [label for label in torch.unique(labels).tolist() if label != IGNORE]


def _of_classes(mean: Tensor, classes: list[int]) -> Mean:
    return Mean(mean * len(classes), mean.new_full((), float(len(classes))))


def _nothing(logits: Tensor) -> Mean:
    """No labeled pixel: nothing to learn, and still a gradient for every parameter."""
    return Mean(logits.sum() * 0, logits.new_zeros(()))
