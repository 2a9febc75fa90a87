"""The CAM head: the class activation maps and the logits of one classifier.

CAM: Zhou et al., CVPR 2016 (https://arxiv.org/abs/1512.04150), section 2; as SEAM uses it: Wang et
al., CVPR 2020 (https://arxiv.org/abs/2004.04581), section 3.

The head is a 1x1 convolution of the backbone's last map x to C + 1 channels::

    cam = W · dropout(x),   logits = global average of cam

Pooling comes after the 1x1 convolution, so the output of the convolution is the CAM, without the
step from classifier weights to maps. The classification loss does not see background channel 0.
"""

from __future__ import annotations

from torch import Tensor, nn

from tag2mask.nn.masked_resize import Size, resized_average


class CamHead(nn.Conv2d):
    """A 1x1 convolution without bias, whose output is the CAM.

    Args:
        inputs: channels of the backbone's last map.
        num_classes: foreground classes C.

    Example:
        >>> import torch
        >>> from tag2mask.seam.cam_head import CamHead
        >>> CamHead(16, num_classes=2)(torch.rand(1, 16, 5, 5)).shape
        torch.Size([1, 3, 5, 5])
    """

    def __init__(self, inputs: int, num_classes: int) -> None:
        super().__init__(inputs, num_classes + 1, 1, bias=False)
        nn.init.xavier_uniform_(self.weight)


def class_logits(branches: Tensor, size: Size, valid: Tensor | None) -> Tensor:
    """Average the maps of the foreground classes: the logits of each branch of a head.

    Args:
        branches: (b, n, C+1, h, w), not rectified.
        size: (h', w') at which the mean is taken; published: the image's.
        valid: bool (b, H, W), False on padding, which is left out. None: all valid.

    Returns:
        float32 (b, n, C).
    """
    foreground = branches[:, :, 1:]  # (b, n, C, h, w)
    return resized_average(foreground.flatten(1, 2), size, valid).reshape(foreground.shape[:3])
