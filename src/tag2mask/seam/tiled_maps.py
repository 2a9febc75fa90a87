"""CAMs and features of large views in overlapping tiles, which bounds the memory of the network.

The tiles' maps are blended into one map of the complete view before anything is normalized, so a
tile without an object gets no maximum of its own. Only plain maps can be computed this way: PCM
normalizes its input and compares all cells of what it gets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from tag2mask.maps.tiles import TileSpan, tile_spans
from tag2mask.nn.backbones.base import Backbone
from tag2mask.seam.cam_head import class_logits
from tag2mask.seam.network import SeamNet, SeamOutput


@dataclass(frozen=True)
class MapTiles:
    """Size of the tiles.

    Attributes:
        side: views with a longer side are computed in tiles of this side, px, which is rounded down
            to a multiple of the network's size multiple, at least two of them. Neighbors overlap by
            an eighth of it, rounded down the same way, to 0 at least.
    """

    side: int


def plain_maps_in_tiles(net: SeamNet, images: Tensor, tiles: MapTiles) -> SeamOutput:
    """Compute the plain maps and the logits of views.

    Args:
        net: a network with a CAM head, in evaluation mode.
        images: normalized, (b, 3, H, W); H and W are multiples of the backbone's stride.
        tiles: size of the tiles.

    Returns:
        Maps of all classes on the CAM's own grid, float32 (b, C+1, H / stride, W / stride), and the
        logits pooled from them.
    """
    cam = _blended(
        lambda part: net(part, own_grid=True, refine=False).cam,
        images,
        tiles,
        net.backbone,
        channels=net.num_classes + 1,
    )
    logits = class_logits(cam[:, None], cam.shape[2:], None, net.pooling)
    return SeamOutput(logits, cam, None, None)


def features_in_tiles(backbone: Backbone, images: Tensor, tiles: MapTiles) -> Tensor:
    """Compute the last maps of views; a linear head on them gives the maps blended from tiles.

    Args:
        backbone: in evaluation mode.
        images: normalized, (b, 3, H, W); H and W are multiples of the backbone's stride. Those no
            larger than a tile are computed in one piece.
        tiles: size of the tiles.

    Returns:
        float32 (b, c, H / stride, W / stride).
    """
    if max(images.shape[2:]) <= tiles.side:
        return backbone(images).last.float()
    channels = backbone.channels[2]
    return _blended(lambda part: backbone(part).last, images, tiles, backbone, channels=channels)


def _blended(
    compute: Callable[[Tensor], Tensor],
    images: Tensor,
    tiles: MapTiles,
    backbone: Backbone,
    *,
    channels: int,
) -> Tensor:
    """Compute maps of tiles on the backbone's grid, and blend them, float32 (b, channels, h, w)."""
    stride = backbone.stride
    multiple = max(1, backbone.size_multiple // stride)
    height, width = (side // stride for side in images.shape[2:])
    rows, columns = (_spans(cells, tiles, stride, multiple) for cells in (height, width))
    blended = images.new_zeros((len(images), channels, height, width), dtype=torch.float32)
    for row, column in product(rows, columns):
        part = images[:, :, _pixels(row, stride), _pixels(column, stride)]
        tile = compute(part).float()
        used = tile[:, :, row.begin - row.first :, column.begin - column.first :]
        weights = torch.from_numpy(row.weights()[:, None] * column.weights()).to(blended.device)
        blended[:, :, row.begin : row.end, column.begin : column.end] += used * weights
    return blended


def _spans(cells: int, tiles: MapTiles, stride: int, multiple: int) -> list[TileSpan]:
    """Cut an axis of the CAM into tiles that begin at multiples of the network's."""
    unit = stride * multiple
    side = max(2, tiles.side // unit) * multiple
    overlap = tiles.side // 8 // unit * multiple
    return tile_spans(cells, side, overlap, multiple)


def _pixels(span: TileSpan, stride: int) -> slice:
    return slice(span.first * stride, span.end * stride)
