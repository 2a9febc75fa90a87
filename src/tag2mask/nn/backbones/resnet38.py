"""ResNet-38, the backbone of SEAM and AffinityNet, with the parameter names of the authors' code.

timm has no ResNet-38 ("model A1, 38 layers" of the paper). The released checkpoints (SEAM,
AffinityNet, ImageNet) load only into a network with the published parameter names, so the names
``conv1a``, ``b2 ... b7``, ``bn7``, ``bn_branch2a`` and so on are kept. The output stride is 8:
blocks ``b5`` to ``b7`` are dilated instead of strided.

Not included: the heads (``fc8``, ``f8_3``, ``f8_4``, ``f9``), which belong to the networks built on
this backbone, and ImageNet's classifier.

Sources:
    Wu, Shen and van den Hengel, "Wider or Deeper: Revisiting the ResNet Model for Visual
    Recognition", https://arxiv.org/abs/1611.10080
    Used at stride 8 by AffinityNet (Ahn and Kwak, CVPR 2018, https://arxiv.org/abs/1803.10464) and
    SEAM (Wang et al., CVPR 2020, https://arxiv.org/abs/2004.04581).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from tag2mask.nn.backbones.base import Features

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class WideBlock(nn.Module):
    """Pre-activation residual block of two 3x3 convolutions.

    Args:
        inputs: channels of the block's input.
        middle: channels between the two convolutions.
        outputs: channels of the block's output.
        stride: stride of the first convolution and of the shortcut.
        first_dilation: dilation of the first convolution.
        dilation: dilation of the second convolution.
    """

    def __init__(
        self,
        inputs: int,
        middle: int,
        outputs: int,
        *,
        stride: int = 1,
        first_dilation: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(inputs)
        self.conv_branch2a = _conv3x3(inputs, middle, stride=stride, dilation=first_dilation)
        self.bn_branch2b1 = nn.BatchNorm2d(middle)
        self.conv_branch2b1 = _conv3x3(middle, outputs, dilation=dilation)
        self.changes_shape = inputs != outputs or stride != 1
        if self.changes_shape:
            self.conv_branch1 = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the block's output and its pre-activation, which PCM reads.

        Args:
            x: (b, inputs, h, w).

        Returns:
            Output (b, outputs, h', w') with h' = ceil(h / stride), and the input after batch norm
            and ReLU, (b, inputs, h, w).
        """
        rectified = F.relu(self.bn_branch2a(x))
        shortcut = self.conv_branch1(rectified) if self.changes_shape else x
        y = self.conv_branch2a(rectified)
        y = self.conv_branch2b1(F.relu(self.bn_branch2b1(y)))
        return shortcut + y, rectified


class BottleneckBlock(nn.Module):
    """Pre-activation bottleneck 1x1 -> dilated 3x3 -> 1x1 with a 1x1 shortcut.

    Args:
        inputs: channels of the block's input.
        outputs: channels of the block's output; the inner maps have a quarter and a half of them.
        dilation: dilation of the 3x3 convolution.
        dropout: probability that a channel is dropped in training, before the second and the third
            convolution.
    """

    def __init__(self, inputs: int, outputs: int, *, dilation: int, dropout: float) -> None:
        super().__init__()
        quarter, half = outputs // 4, outputs // 2
        self.bn_branch2a = nn.BatchNorm2d(inputs)
        self.conv_branch2a = nn.Conv2d(inputs, quarter, 1, bias=False)
        self.bn_branch2b1 = nn.BatchNorm2d(quarter)
        self.dropout_2b1 = nn.Dropout2d(dropout)
        self.conv_branch2b1 = _conv3x3(quarter, half, dilation=dilation)
        self.bn_branch2b2 = nn.BatchNorm2d(half)
        self.dropout_2b2 = nn.Dropout2d(dropout)
        self.conv_branch2b2 = nn.Conv2d(half, outputs, 1, bias=False)
        self.conv_branch1 = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the block's output and its pre-activation, which PCM reads.

        Args:
            x: (b, inputs, h, w).

        Returns:
            Output (b, outputs, h', w') with h' = ceil(h / stride), and the input after batch norm
            and ReLU, (b, inputs, h, w).
        """
        rectified = F.relu(self.bn_branch2a(x))
        y = self.conv_branch2a(rectified)
        y = self.conv_branch2b1(self.dropout_2b1(F.relu(self.bn_branch2b1(y))))
        y = self.conv_branch2b2(self.dropout_2b2(F.relu(self.bn_branch2b2(y))))
        return self.conv_branch1(rectified) + y, rectified


class ResNet38(nn.Module):
    """ResNet-38 without a head; implements :class:`tag2mask.nn.backbones.base.Backbone`.

    All three maps are at stride 8: ``low`` is conv4 (pre-activation of ``b5``, 512 channels),
    ``mid`` is conv5 (pre-activation of ``b6``, 1024 channels), and ``last`` is conv6 (after
    ``bn7``, 4096 channels).

    Args:
        dropout: probability that a channel is dropped in ``b6`` and ``b7`` during training.

    Example:
        >>> import torch
        >>> backbone = ResNet38().eval()
        >>> with torch.no_grad():
        ...     features = backbone(torch.zeros(1, 3, 64, 48))
        >>> features.last.shape
        torch.Size([1, 4096, 8, 6])
    """

    channels = (512, 1024, 4096)
    stride = 8
    mid_strides = (8, 8)
    size_multiple = 8
    mean = IMAGENET_MEAN
    std = IMAGENET_STD

    def __init__(self, dropout: tuple[float, float] = (0.3, 0.5)) -> None:
        super().__init__()
        self.conv1a = _conv3x3(3, 64)
        self._add_stage("b2", count=3, inputs=64, outputs=128)
        self._add_stage("b3", count=3, inputs=128, outputs=256)
        self._add_stage("b4", count=6, inputs=256, outputs=512)
        self.b5 = WideBlock(512, 512, 1024, dilation=2)
        self.b5_1 = WideBlock(1024, 512, 1024, first_dilation=2, dilation=2)
        self.b5_2 = WideBlock(1024, 512, 1024, first_dilation=2, dilation=2)
        self.b6 = BottleneckBlock(1024, 2048, dilation=4, dropout=dropout[0])
        self.b7 = BottleneckBlock(2048, 4096, dilation=4, dropout=dropout[1])
        self.bn7 = nn.BatchNorm2d(4096)

    def _add_stage(self, name: str, *, count: int, inputs: int, outputs: int) -> None:
        """Add blocks ``name``, ``name_1``, ...; the first one has stride 2."""
        self.add_module(name, WideBlock(inputs, outputs, outputs, stride=2))
        for i in range(1, count):
            self.add_module(f"{name}_{i}", WideBlock(outputs, outputs, outputs))

    def forward(self, image: Tensor) -> Features:
        """Return the three feature maps.

        Args:
            image: (b, 3, H, W), normalized by ``mean`` and ``std``; any size.

        Returns:
            Maps of ceil(H / 8) x ceil(W / 8) cells.
        """
        x = self.conv1a(image)
        rectified: dict[str, Tensor] = {}
        for name, block in self.named_children():
            if isinstance(block, WideBlock | BottleneckBlock):
                x, block_input = block(x)
                if name in ("b5", "b6"):
                    rectified[name] = block_input
        return Features(rectified["b5"], rectified["b6"], F.relu(self.bn7(x)))

    def frozen(self) -> Iterator[nn.Parameter]:
        """Return the parameters that the authors' code freezes: conv1a, b2, b2_1 and b2_2."""
        for name in ("conv1a", "b2", "b2_1", "b2_2"):
            yield from self.get_submodule(name).parameters()


def _conv3x3(inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False)
