"""Time of multi-scale inference: views of one size in a batch, compared with one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.measure import Row, side_by_side
from tag2mask.classes import VOC_NAMES, ClassSet
from tag2mask.maps.cam_map import map_grid
from tag2mask.nn.inference_copy import inference_copy, memory_format
from tag2mask.recipe.loading import load_recipe
from tag2mask.runtime.precision import autocast
from tag2mask.seam.map_sums import scale_maps
from tag2mask.seam.model import build_seam
from tag2mask.seam.multi_scale_inference import InferenceSettings, MultiScaleInference
from tag2mask.seam.network import SeamNet
from tag2mask.steps.train_cam import net_spec

SIZES = ((500, 375), (500, 375), (375, 500), (500, 333))
"""(w, h) of the photos, typical of VOC."""
TAGS = ((14,), (6, 14), (11,), (2,))
ON_GPU = 4
"""Factor for the number of photos on a GPU: `infer-cam` has sixteen in memory at once."""


def batched_vs_single(*, toy: bool = False) -> Row:
    """Compare both in the same precision: of lite0-cpu, on a GPU of lite2-gpu."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = load_recipe("lite0-cpu" if device.type == "cpu" else "lite2-gpu")
    spec = net_spec(recipe.train_cam, ClassSet(VOC_NAMES))
    net = build_seam(spec, weights=recipe.train_cam.backbone.weights).eval()
    net = net.to(device, memory_format=memory_format(device))  # type: ignore[call-overload]
    section = recipe.infer_cam
    settings = InferenceSettings(
        scales=section.scales,
        flip=section.flip,
        long_side=64 if toy else section.long_side,
        branch="refined",
        gate_pcm=True,
        map_stride=section.map_stride,
        batch_views=section.batch_views,
        published=False,
        tiles=None,
    )
    times = 1 if device.type == "cpu" else ON_GPU
    photos, tags = photos_of(SIZES * times), TAGS * times
    mixed = partial(autocast, section.precision, device)
    batched = MultiScaleInference(inference_copy(net, device), settings, device, mixed)

    def single() -> None:
        with mixed():
            one_at_a_time(net, settings, photos, tags)

    return side_by_side(lambda: batched.maps(photos, tags), single, seconds=0 if toy else 60)


def photos_of(sizes: Sequence[tuple[int, int]]) -> list[Image.Image]:
    """Return smooth random photos of sizes (w, h)."""
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(size)
        for size in sizes
    ]


@torch.inference_mode()
def one_at_a_time(
    net: SeamNet,
    settings: InferenceSettings,
    photos: Sequence[Image.Image],
    tags: Sequence[tuple[int, ...]],
) -> list[Tensor]:
    """Compute the same maps (k, h, w) in a plain loop over photos, scales and flips."""
    device = next(net.parameters()).device
    mean, std = (torch.tensor(of, device=device) for of in (net.backbone.mean, net.backbone.std))
    multiple, long_side = net.backbone.size_multiple, settings.long_side
    assert long_side is not None and settings.flip
    results = []
    for photo, own in zip(photos, tags, strict=True):
        present = torch.zeros(1, net.num_classes, device=device)
        present[0, list(own)] = 1.0
        grid = map_grid(photo.size[1], photo.size[0], settings.map_stride)
        total = torch.zeros(len(own), *grid, device=device)
        for scale in settings.scales:
            width, height = (
                max(1, round(side * scale * long_side / max(photo.size) / multiple)) * multiple
                for side in photo.size
            )
            resized = photo.resize((width, height), Image.Resampling.BICUBIC)
            pixels = (torch.from_numpy(np.array(resized)).to(device) / 255 - mean) / std
            view = pixels.permute(2, 0, 1)[None]
            for flip in (False, True):
                pair = net(
                    view.flip(3) if flip else view, tags=present, own_grid=True, pool_on_grid=True
                )
                maps = pair.refined[:, [tag + 1 for tag in own]]
                maps = (maps.flip(3) if flip else maps).float()
                total += F.interpolate(maps, grid, mode="bilinear", align_corners=False)[0]
        results.append(scale_maps(total).cpu())
    return results
