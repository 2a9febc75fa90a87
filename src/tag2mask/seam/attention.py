"""CAMs spread along the attention of a ViT's late blocks, as in CLIP-ES."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tag2mask.nn.backbones.attention import attention_affinity


def spread_cam(cam: Tensor, attentions: Sequence[Tensor]) -> Tensor:
    """Spread CAMs along attentions.

    Lin et al., CVPR 2023 (https://arxiv.org/abs/2212.09506), section 3.3.

    Args:
        cam: (b, c, h, w) on the grid of the tokens; scores below 0 are taken as 0.
        attentions: see `attention_affinity`.

    Returns:
        float32 (b, c, h, w).
    """
    maps = F.relu(cam.float()).flatten(2)  # (b, c, n)
    with torch.autocast(cam.device.type, enabled=False):
        return (maps @ attention_affinity(attentions, maps.shape[2])).view(cam.shape)
