"""The multi-dilated convolution head: a second way to localization maps, to compare SEAM with.

One 3x3 convolution a dilation rate reads the backbone's last map, side by side, each with a
classifier of its own. The plain one (rate 1) marks what tells a class; those of larger rates carry
that to more of the object, and each marks some background too, but not the same one. The map is the
plain branch's plus the mean of the others', so that what only one of them marks counts little.

The paper's saliency maps, which tell its background, are left out: the background is derived from
the maps as everywhere else.

Source: Wei et al., "Revisiting Dilated Convolution: A Simple Approach for Weakly- and
Semi-Supervised Semantic Segmentation", CVPR 2018 (arXiv 1805.04574), section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RATES = (1, 3, 6, 9)
"""Published."""


class MdcHead(nn.Module):
    """Branches of several dilation rates on a backbone's last map.

    Args:
        inputs: channels of that map.
        num_classes: foreground classes C.
        rates: dilation of each branch's 3x3 convolution, that of the plain one first.
        channels: of each branch between its convolution and its classifier.
    """

    def __init__(
        self, inputs: int, num_classes: int, *, rates: Sequence[int] = RATES, channels: int = 128
    ) -> None:
        super().__init__()
        assert len(rates) > 1, "a plain branch and at least one more"
        self.convolutions = nn.ModuleList(_dilated(inputs, channels, rate) for rate in rates)
        self.classifiers = nn.ModuleList(_classifier(channels, num_classes) for _ in rates)

    def forward(self, last: Tensor) -> Tensor:
        """Maps of all branches.

        Args:
            last: (b, inputs, h, w); 0 on padding, as the convolutions have it beyond the border.

        Returns:
            (b, rates, C+1, h, w), not rectified: pooling comes after the classifier.
        """
        return torch.stack(
            [
                classifier(F.relu(convolution(last)))
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
    """H_0 + mean of H_1 ... H_n: the plain branch whole, the dilated ones averaged (eq. 1).

    Like a CAM, the map is rectified and scaled only after the views of a photo are summed.

    Args:
        branches: (b, 1 + n, c, h, w), the plain one first.

    Returns:
        (b, c, h, w).
    """
    return branches[:, 0] + branches[:, 1:].mean(dim=1)
