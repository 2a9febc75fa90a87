"""Which feature map of a backbone places small objects: a linear head on frozen features.

    python -m benchmarks.experiments.small_objects.features RUN [--epochs 15]
        [--levels low mid last] [--raw]

RUN is a run on a folder of `benchmarks.small_defects` with a complete ``prepare``. The maps of
EfficientNet-Lite0 with ImageNet weights are computed once per photo, each channel is normalized
over the training photos (``--raw``: divided by its standard deviation, but not centered), and a 1x1
convolution with a bias learns the tags by each kind of pooling. Prints, for the validation photos:
mean average precision of the tags; how far the highest cell of a photo's class lies from the
nearest object of that class, px (quartiles); and, for masks of the tagged classes where a map is at
least halfway between its median and its maximum, the share of the objects that are found.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional

from benchmarks.object_scores import compare_objects, summary
from tag2mask.data.images import read_image
from tag2mask.data.index import Sample, read_classes, read_index, read_mask_paths
from tag2mask.data.masks import read_mask
from tag2mask.metrics.tag_scores import tag_quality
from tag2mask.nn.backbones.base import Backbone
from tag2mask.nn.backbones.build import build_backbone
from tag2mask.seam.cam_head import Pooling, class_logits

POOLINGS: tuple[Pooling, ...] = ("avg", "max", "top")
NAMES = ("low", "mid", "last")
BATCH, LEARNING_RATE, WEIGHT_DECAY = 20, 0.01, 0.05


class Level(NamedTuple):
    """Name and maps of one level, (photos, c, h, w), of the two splits."""

    name: str
    train: Tensor
    val: Tensor


def levels(
    backbone: Backbone, train: list[Sample], val: list[Sample], *, centered: bool
) -> list[Level]:
    """Compute the three feature maps of all photos, which have one size, normalized per channel."""
    found = []
    maps = [_features(backbone, samples) for samples in (train, val)]
    strides = (*backbone.mid_strides, backbone.stride)
    for number, (name, stride) in enumerate(zip(NAMES, strides, strict=True)):
        own, other = maps[0][number], maps[1][number]
        mean, std = own.mean((0, 2, 3), keepdim=True), own.std((0, 2, 3), keepdim=True) + 1e-6
        mean = mean if centered else torch.zeros_like(mean)
        found.append(Level(f"{name}, stride {stride}", (own - mean) / std, (other - mean) / std))
    return found


@torch.inference_mode()
def _features(backbone: Backbone, samples: list[Sample]) -> tuple[Tensor, ...]:
    mean, std = (torch.tensor(v)[:, None, None] for v in (backbone.mean, backbone.std))
    rows = []
    for sample in samples:
        photo = np.asarray(read_image(sample.image))
        height, width = (side // 32 * 32 for side in photo.shape[:2])
        image = torch.from_numpy(photo[:height, :width].copy()).permute(2, 0, 1).float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            rows.append(backbone(((image - mean) / std)[None]))
    return tuple(torch.cat(maps).float() for maps in zip(*rows, strict=True))


def fit(
    features: Tensor, tags: Tensor, pooling: Pooling, epochs: int, *, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Train a linear head; return its weights (C, c) and bias (C,).

    Args:
        features: of the training photos, (n, c, h, w).
        tags: (n, C), 0 or 1.
        pooling: how a class's logit is taken from its map.
        epochs: passes over the photos.
        seed: of the first weights and of the order of the photos.
    """
    generator = torch.Generator().manual_seed(seed)
    start = 0.02 * torch.randn(tags.shape[1], features.shape[1], generator=generator)
    weight, bias = start.requires_grad_(), torch.zeros(tags.shape[1], requires_grad=True)
    optimizer = torch.optim.AdamW([weight, bias], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(epochs):
        for chosen in torch.split(torch.randperm(len(tags), generator=generator), BATCH):
            logits = pooled(class_maps(features[chosen], weight), pooling) + bias
            loss = functional.binary_cross_entropy_with_logits(logits, tags[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return weight.detach(), bias.detach()


def class_maps(features: Tensor, weight: Tensor) -> Tensor:
    """Return the maps of the classes, (n, C, h, w), from features (n, c, h, w)."""
    return torch.einsum("bchw,kc->bkhw", features, weight)


def pooled(maps: Tensor, pooling: Pooling) -> Tensor:
    """Return the logits of maps, (n, C)."""
    branches = functional.pad(maps, (0, 0, 0, 0, 1, 0))[:, None]  # channel 0 is the background
    return class_logits(branches, maps.shape[2:], None, pooling)[:, 0]


def distances(maps: Tensor, masks: list[NDArray[np.uint8]]) -> list[float]:
    """Return how far the highest cell of each class in a mask is from its nearest object, px."""
    found = []
    for photo, mask in zip(maps, masks, strict=True):
        stride = mask.shape[0] // photo.shape[1]
        for tag, one in enumerate(photo):
            objects = mask == tag + 1
            if objects.any():
                y, x = divmod(int(one.argmax()), one.shape[1])
                place = (y * stride + stride // 2, x * stride + stride // 2)
                found.append(float(distance_transform_edt(~objects)[place]))
    return found


def object_scores(maps: Tensor, tags: Tensor, masks: list[NDArray[np.uint8]]) -> dict[str, Any]:
    """Score masks of the tagged classes, those where the highest map is in its upper half."""
    photos = []
    for photo, known, mask in zip(maps, tags, masks, strict=True):
        stride = mask.shape[0] // photo.shape[1]
        size = (photo.shape[1] * stride, photo.shape[2] * stride)
        full = functional.interpolate(photo[None], size, mode="bilinear")[0]  # (C, h, w)
        low = full.flatten(1).median(dim=1).values[:, None, None]
        high = full.amax(dim=(1, 2), keepdim=True)
        scores = (full - low) / (high - low).clamp(min=1e-6) * known[:, None, None]
        best = scores.max(dim=0)
        labels = torch.where(best.values >= 0.5, best.indices + 1, 0).byte().numpy()
        photos.append(compare_objects(labels, mask[: size[0], : size[1]], len(tags[0])))
    return summary(photos, [str(tag) for tag in range(len(tags[0]))])


def main() -> None:
    """Print a line for each level and kind of pooling."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--levels", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--raw", action="store_true")
    options = parser.parse_args()
    prepared = options.run / "prepare"
    classes, paths = len(read_classes(prepared)), read_mask_paths(prepared)
    train, val = read_index(prepared, "train"), read_index(prepared, "val")
    tags, known = (
        torch.tensor([[float(t in s.tags) for t in range(classes)] for s in samples])
        for samples in (train, val)
    )
    masks = [read_mask(paths[sample.id], classes) for sample in val]
    backbone = build_backbone("tf_efficientnet_lite0", weights="packaged", output_stride=16)
    backbone.eval()  # type: ignore[attr-defined]
    for level in levels(backbone, train, val, centered=not options.raw):
        if level.name.split(",")[0] not in options.levels:
            continue
        for pooling in POOLINGS:
            weight, _ = fit(level.train, tags, pooling, options.epochs)
            maps = class_maps(level.val, weight)
            quality = tag_quality(pooled(maps, pooling).sigmoid().numpy(), known.numpy() > 0)
            quartiles = np.percentile(distances(maps, masks), [25, 50, 75]).round().tolist()
            mean = 100 * quality.mean_average_precision
            print(f"{level.name}, {pooling}: mAP {mean:.0f} %, px {quartiles}", flush=True)
            print("  ", object_scores(maps, known, masks), flush=True)


if __name__ == "__main__":
    main()
