"""MDC, the head of multi-dilated convolutions: another source of localization maps.

Wei et al., "Revisiting Dilated Convolution: A Simple Approach for Weakly- and Semi-Supervised
Semantic Segmentation", CVPR 2018 (https://arxiv.org/abs/1805.04574), section 3.2. SEAM is compared
with it.

One 3x3 convolution per dilation rate reads the backbone's last map; each has a classifier of its
own. The map of rate 1 marks the most discriminative parts. Those of larger rates transfer this to
more of the object. Each also marks some background, but not the same, so that their mean suppresses
what only one of them marks.

The paper takes its background from saliency maps. They are not used here: the background is derived
from the maps, as for CAM and SEAM.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PUBLISHED_RATES = (1, 3, 6, 9)
"""Dilation rates of the paper."""


class MdcHead(nn.Module):
    """Branches of several dilation rates on a backbone's last map.

    Branch r: H_r = classifier_r(ReLU(3x3 convolution of dilation r)). Each branch is pooled and
    classified separately (`tag2mask.seam.losses.classification`).

    Args:
        inputs: channels of the backbone's last map.
        num_classes: foreground classes C.
        rates: dilation of each branch's 3x3 convolution, that of the plain one first.
        channels: channels between a branch's convolution and its classifier.

    Example:
        >>> import torch
        >>> from tag2mask.seam.mdc import PUBLISHED_RATES, MdcHead, localization_map
        >>> head = MdcHead(16, num_classes=2, rates=PUBLISHED_RATES, channels=8)
        >>> branches = head(torch.rand(1, 16, 5, 5))
        >>> branches.shape, localization_map(branches).shape
        (torch.Size([1, 4, 3, 5, 5]), torch.Size([1, 3, 5, 5]))
    """

    def __init__(
        self, inputs: int, num_classes: int, *, rates: Sequence[int], channels: int
    ) -> None:
        super().__init__()
        assert len(rates) > 1, "a plain branch and at least one more"
        self.convolutions = nn.ModuleList(_dilated(inputs, channels, rate) for rate in rates)
        self.classifiers = nn.ModuleList(_classifier(channels, num_classes) for _ in rates)

    def forward(self, last: Tensor) -> Tensor:
        """Compute the maps of all branches.

        Args:
            last: (b, inputs, h, w); 0 on padding, as the convolutions pad the border.

        Returns:
            (b, rates, C+1, h, w), not rectified: pooling comes after the classifier.
        """
        return torch.stack(
            [
                classifier(F.relu(convolution(last)))  # (b, C+1, h, w)
                for convolution, classifier in zip(self.convolutions, self.classifiers, strict=True)
            ],
            dim=1,
        )


def _dilated(inputs: int, channels: int, rate: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, channels, 3, padding=rate, dilation=rate)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution


def _classifier(channels: int, num_classes: int) -> nn.Conv2d:
    classifier = nn.Conv2d(channels, num_classes + 1, 1, bias=False)
    nn.init.xavier_uniform_(classifier.weight)
    return classifier


def localization_map(branches: Tensor) -> Tensor:
    """Combine the branches into one map (section 3.2): H_0 + mean of H_1 ... H_n.

    As with CAMs, the map is rectified and scaled only after the views of a photo are summed.

    Args:
        branches: (b, 1 + n, c, h, w), the plain one first.

    Returns:
        (b, c, h, w).

    Example:
        >>> import torch
        >>> from tag2mask.seam.mdc import localization_map
        >>> localization_map(torch.tensor([2.0, 1.0, 3.0]).view(1, 3, 1, 1, 1)).item()
        4.0
    """
    return branches[:, 0] + branches[:, 1:].mean(dim=1)
