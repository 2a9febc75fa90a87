"""Maps by image-specific prototypes at inference, without training.

Chen et al., CVPR 2022 (SIPE, https://arxiv.org/abs/2203.02909), section 3.2; the authors' code is
``network/resnet50_SIPE.py`` of https://github.com/chenqi1126/SIPE. With f a cell's features of all
levels and cos their cosine similarity::

    seed of a cell   the class whose map has the largest IoU with max(0, cos(f, ·)) over the photo,
                     where that of the background, 1 - the largest map, counts half
    prototype        mean features of a class's seeds
    new map          max(0, cos(f, prototype)), scaled to [0, 1] per class

The levels of SIPE's network are projected by trained layers. Here they are the backbone's own, from
which the mean of the photo is subtracted: after a ReLU it is what all cells have in common. A class
without a seed keeps its map.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tag2mask.maps.cam_map import CamMap
from tag2mask.nn.backbones.base import Backbone
from tag2mask.seam.map_sums import scale_maps
from tag2mask.seam.scaled_views import ScaledViews

BACKGROUND_SHARE = 0.5
Float32 = npt.NDArray[np.float32]


class ImagePrototypes:
    """Makes the new maps of photos.

    Args:
        backbone: of the CAM network, in evaluation mode, on the CPU.
        long_side: long side of the photos, px; None: their own.
    """

    def __init__(self, backbone: Backbone, long_side: int | None) -> None:
        self.backbone = backbone
        self.views = partial(
            ScaledViews(
                mean=backbone.mean,
                std=backbone.std,
                long_side=long_side,
                size_multiple=backbone.size_multiple,
                flip=True,
                batch_views=2,
                device=torch.device("cpu"),
            ).batches,
            scales=[1.0],
        )

    @torch.inference_mode()
    def refine(self, cam_map: CamMap, photo: Image.Image) -> Float32:
        """Return the new maps on the grid of the old ones, (k, h, w) in [0, 1]."""
        features = self.features(photo)
        scores = torch.from_numpy(cam_map.scores)
        small = F.interpolate(scores[None], features.shape[1:], mode="area")[0]
        maps = reactivated(features, small)
        grid = cam_map.scores.shape[1:]
        full: Float32 = F.interpolate(maps[None], grid, mode="bilinear")[0].numpy()
        return full

    def features(self, photo: Image.Image) -> Tensor:
        """Return the features of a photo, the mean of it and its mirror image, (c, h, w).

        Each level is centered and has length 1 in each cell, on the grid of the finest level.
        """
        total: list[Tensor] = []
        for batch in self.views([photo], [(photo.height, photo.width)]):
            levels = self.backbone(batch.images)
            size = levels.low.shape[2:]
            for row, mirrored in enumerate(batch.mirrored):
                found = []
                for level in levels:
                    one = level[row : row + 1].float()
                    one = F.normalize(one - one.mean(dim=(2, 3), keepdim=True), dim=1)
                    found.append(F.interpolate(one, size, mode="bilinear")[0])
                joined = torch.cat(found)
                total.append(joined.flip(2) if mirrored else joined)
        return torch.stack(total).mean(dim=0)


def seeds(features: Tensor, scores: Tensor) -> Tensor:
    """Return the seed of each cell, (h, w): 0 background, 1..k the place of a class.

    Args:
        features: (c, h, w).
        scores: maps in [0, 1], (k, h, w).
    """
    vectors = F.normalize(features.flatten(1), dim=0)  # (c, n)
    similar = F.relu(vectors.mT @ vectors)  # (n, n)
    maps = torch.cat([1 - scores.amax(dim=0, keepdim=True), scores]).flatten(1)  # (1 + k, n)
    common = maps @ similar.mT  # (1 + k, n)
    union = maps.sum(dim=1, keepdim=True) + similar.sum(dim=1) - common
    iou = common / union.clamp(min=1e-6)
    iou[0] *= BACKGROUND_SHARE
    return iou.argmax(dim=0).view(features.shape[1:])


def reactivated(features: Tensor, scores: Tensor) -> Tensor:
    """Return the new maps, (k, h, w) in [0, 1]; arguments as for `seeds`."""
    found = seeds(features, scores)
    maps = []
    for place, old in enumerate(scores, 1):
        own = found == place
        if not own.any():
            maps.append(old)
            continue
        prototype = features[:, own].mean(dim=1)
        maps.append(F.relu(F.cosine_similarity(features, prototype[:, None, None], dim=0)))
    return scale_maps(torch.stack(maps))
