"""DeepLab v1 on ResNet-38: the segmentation network that the paper trains on its pseudo masks.

ResNet-38 at output stride 8, a 3x3 convolution with dilation 12 (a field of view of 25 cells) and a
1x1 convolution, each with batch norm and ReLU, then dropout and the classifier. The authors' names
``conv_fov``, ``bn_fov``, ``conv_fov2``, ``bn_fov2`` and ``cls_conv`` are kept, with ResNet-38 under
``backbone.``, so the authors' checkpoints can be loaded.

Sources:
    Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected
    CRFs", ICLR 2015 (DeepLab-LargeFOV), https://arxiv.org/abs/1412.7062
    Wu, Shen and van den Hengel, "Wider or Deeper", https://arxiv.org/abs/1611.10080
    Retrained on pseudo masks in SEAM (Wang et al., CVPR 2020), section 4.3,
    https://arxiv.org/abs/2004.04581
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from tag2mask.nn.backbones.base import Backbone
from tag2mask.nn.backbones.build import RESNET38, build_backbone
from tag2mask.nn.backbones.resnet38 import ResNet38
from tag2mask.nn.masked_resize import resize

DEEPLAB_V1 = "deeplabv1"
"""Name of the architecture."""
CHANNELS = 512
DILATION = 12
PUBLISHED_MOMENTUM = 3e-4
"""Momentum of the running statistics of all batch norms in the authors' code."""


class DeepLabV1(nn.Module):
    """DeepLab's large-field-of-view head on a backbone's last map.

    Args:
        backbone: the backbone; only its last map is used.
        num_classes: number of foreground classes C.

    Attributes:
        mean: mean of the input normalization, RGB in 0..1.
        std: standard deviation of the input normalization, RGB in 0..1.
        size_multiple: image sides should be multiples of it, px; see `Backbone`.

    Example:
        >>> import torch
        >>> net = DeepLabV1(ResNet38(), num_classes=20).eval()
        >>> with torch.no_grad():
        ...     net(torch.zeros(1, 3, 64, 48)).shape
        torch.Size([1, 21, 64, 48])
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
        # As in DeepLab, the initial predictions are nearly equal for all classes.
        nn.init.normal_(self.cls_conv.weight, std=0.01)
        assert self.cls_conv.bias is not None
        nn.init.zeros_(self.cls_conv.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of each pixel.

        Args:
            image: normalized, (b, 3, H, W); any size.

        Returns:
            Logits (b, C+1, H, W); channel c is mask id c. Computed at output stride 8 and resized
            (bilinear, align_corners=True).
        """
        x = self.backbone(image).last  # (b, 4096, h, w), h = ceil(H / 8)
        x = F.relu(self.bn_fov(self.conv_fov(x)))  # (b, 512, h, w)
        x = F.relu(self.bn_fov2(self.conv_fov2(x)))  # (b, 512, h, w)
        return resize(self.cls_conv(self.dropout(x)), image.shape[2:])

    def class_layers(self) -> Sequence[nn.Module]:
        """Return the layers whose outputs are background and classes."""
        return [self.cls_conv]

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that are not pretrained: those of the head."""
        new = (self.conv_fov, self.bn_fov, self.conv_fov2, self.bn_fov2, self.cls_conv)
        return [parameter for module in new for parameter in module.parameters()]

    def logits_at(self, image: Tensor, stride: int) -> Tensor:
        """Return the logits of each pixel, as published; ``stride`` is 1."""
        assert stride == 1, stride
        logits: Tensor = self(image)
        return logits

    def frozen(self, stride: int) -> list[nn.Parameter]:
        """Return the parameters of the backbone's first layers, which are not trained.

        Which layers these are is published; ``stride`` is 1.
        """
        assert stride == 1, stride
        return list(self.backbone.frozen())


def build_deeplab_v1(num_classes: int, *, weights: str) -> DeepLabV1:
    """Build DeepLab v1 on ResNet-38.

    Args:
        num_classes: number of foreground classes C.
        weights: weights of ResNet-38: ``none`` or a file; see `build_backbone`.

    Raises:
        WeightsError: weights missing or of another network.
    """
    backbone = build_backbone(RESNET38, weights=weights, output_stride=ResNet38.stride)
    return DeepLabV1(backbone, num_classes)


def train_as_published(net: DeepLabV1) -> None:
    """Set up a network for training as in the authors' code.

    * No convolution is frozen, the first layers neither.
    * The optimizer has no group for the affine parameters of batch norms: they keep their values,
      in the head 1 and 0. Running statistics have momentum 3e-4.
    * The classifier's weights are drawn like those of the head's other convolutions, its bias as by
      torch. By default all classes are nearly equal at first, see `DeepLabV1`.

    Sources:
        ``get_parameter_groups`` and ``__initial__`` in ``lib/net/deeplabv1.py``, and
        ``experiment/seamv1-pseudovoc`` of
        https://github.com/YudeWang/semantic-segmentation-codebase. The latter never calls
        ``train()`` of ResNet-38, which would freeze its first layer and its batch norms.
    """
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = PUBLISHED_MOMENTUM
            module.requires_grad_(False)
    nn.init.kaiming_normal_(net.cls_conv.weight, mode="fan_out", nonlinearity="relu")
    assert net.cls_conv.bias is not None
    bound = 1 / math.sqrt(net.cls_conv.in_channels)
    nn.init.uniform_(net.cls_conv.bias, -bound, bound)
