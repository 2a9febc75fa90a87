"""Affinities of photos from the attention of a CAM network's ViT, in place of AffinityNet's.

Lin et al., CVPR 2023 (CLIP-ES, https://arxiv.org/abs/2212.09506), section 3.3. A photo is read
once, at one size. All pairs of cells have an affinity, so the matrix grows with the square of their
number.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from PIL import Image

from tag2mask.affinity.inference import PhotoAffinity
from tag2mask.nn.backbones.attention import AttentionReader, attention_affinity
from tag2mask.nn.backbones.base import Backbone
from tag2mask.nn.photo_input import PhotoInput
from tag2mask.runtime.memory import explain_out_of_memory

SMALL_CELLS = 1200
"""Largest number of cells of a photo that is computed beside others: about 250 MiB each."""


class AttentionInference:
    """Computes affinities of photos from the attention of a ViT; see `attention_affinity`.

    Args:
        backbone: one for which `has_attention` holds, in evaluation mode, on ``device``; its late
            blocks compute their attention step by step from then on.
        device: where the backbone is.
        long_side: the photo's long side, px; None: its own.
        autocast: returns a context for mixed precision.
    """

    def __init__(
        self,
        backbone: Backbone,
        device: torch.device,
        *,
        long_side: int | None,
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.backbone = backbone
        self.autocast = autocast
        self.reader = AttentionReader(backbone)
        self.input = PhotoInput(
            backbone.mean,
            backbone.std,
            device,
            long_side=long_side,
            multiple=backbone.size_multiple,
        )

    @property
    def small_pixels(self) -> int:
        """Largest photo, in px as the network sees it, that is computed beside others."""
        return SMALL_CELLS * self.backbone.stride**2

    @torch.no_grad()
    def affinity(self, photo: Image.Image) -> PhotoAffinity:
        """Compute the affinities of an upright RGB photo.

        Raises:
            DeviceError: the GPU ran out of memory.
        """
        size = self.input.view_size((photo.height, photo.width), 1.0)
        stride = self.backbone.stride
        cells = (size[0] // stride) * (size[1] // stride)
        with explain_out_of_memory("walk.long_side"):
            with self.autocast(), self.reader.reading() as attentions:
                self.backbone(self.input.image(photo, size)[None])
            affinity = attention_affinity(attentions, cells)[0]  # (n, n)
        return PhotoAffinity(affinity, None, size, stride)
