"""DeepLab v1 on ResNet-38: the segmentation network that the paper trains on its pseudo masks.

ResNet-38 at stride 8, a 3x3 convolution of dilation 12 (a field of view of 25 cells), a 1x1
convolution, each with batch norm and ReLU, dropout and the classifier. The published names
``conv_fov``, ``bn_fov``, ``conv_fov2``, ``bn_fov2`` and ``cls_conv`` stay, ResNet-38's stand under
``backbone.``, so the authors' checkpoints load as they are.

Sources: Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected
CRFs" (ICLR 2015); Wang et al., CVPR 2020, section 4.3. Other segmentation networks come from a
library.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from tag2mask.nn.backbones.base import Backbone
from tag2mask.nn.backbones.build import RESNET38, build_backbone
from tag2mask.nn.backbones.resnet38 import ResNet38
from tag2mask.nn.masked_resize import resize

CHANNELS = 512
DILATION = 12


class DeepLabV1(nn.Module):
    """DeepLab's large-field-of-view head on a backbone's last map.

    Args:
        backbone: only its last map is read.
        num_classes: foreground classes C.

    Attributes:
        mean: of the input normalization, RGB in 0..1.
        std: of the input normalization, RGB in 0..1.
        size_multiple: sides that are multiples of it are sampled alike; see `Backbone`.
    """

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.mean, self.std = backbone.mean, backbone.std
        self.size_multiple = backbone.size_multiple
        self.conv_fov = nn.Conv2d(
            backbone.channels[2], CHANNELS, 3, padding=DILATION, dilation=DILATION, bias=False
        )
        self.bn_fov = nn.BatchNorm2d(CHANNELS)
        self.conv_fov2 = nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)
        self.bn_fov2 = nn.BatchNorm2d(CHANNELS)
        self.dropout = nn.Dropout(0.5)
        self.cls_conv = nn.Conv2d(CHANNELS, num_classes + 1, 1)
        for convolution in (self.conv_fov, self.conv_fov2):
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        # As in DeepLab: the first predictions are the same for all classes.
        nn.init.normal_(self.cls_conv.weight, std=0.01)
        assert self.cls_conv.bias is not None
        nn.init.zeros_(self.cls_conv.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Score every pixel.

        Args:
            image: normalized, (b, 3, H, W); any size.

        Returns:
            Logits (b, C+1, H, W), channel c is mask id c; computed at stride 8 and resized
            (bilinear, align_corners=True).
        """
        x = self.backbone(image).last
        x = F.relu(self.bn_fov(self.conv_fov(x)))
        x = F.relu(self.bn_fov2(self.conv_fov2(x)))
        return resize(self.cls_conv(self.dropout(x)), image.shape[2:])

    def new_parameters(self) -> list[nn.Parameter]:
        """Parameters that no pretraining gave: the head's."""
        new = (self.conv_fov, self.bn_fov, self.conv_fov2, self.bn_fov2, self.cls_conv)
        return [parameter for module in new for parameter in module.parameters()]

    def frozen(self) -> Iterable[nn.Parameter]:
        """Parameters that never train: the backbone's first layers."""
        return self.backbone.frozen()


def build_deeplab_v1(num_classes: int, *, weights: str) -> DeepLabV1:
    """Build the paper's network.

    Args:
        num_classes: foreground classes C.
        weights: of ResNet-38: ``none`` or a file; see `build_backbone`. Heads are left out.

    Raises:
        WeightsError: weights missing or of another network.
    """
    backbone = build_backbone(RESNET38, weights=weights, output_stride=ResNet38.stride)
    return DeepLabV1(backbone, num_classes)
