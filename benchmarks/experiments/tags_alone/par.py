"""Pixel-adaptive refinement of maps (PAR), also in place of the CRFs for affinity labels.

    python -m benchmarks.experiments.tags_alone.par run --data DATA --out RUN ...

Ru et al., CVPR 2022 (AFA, https://arxiv.org/abs/2203.02664), section 3.4; the authors' code is
``wetr/PAR.py`` of https://github.com/rulixiang/afa. Each value becomes the weighted mean of those
of 8 neighbors at each of several distances d, several times. With I the colors, Δ the distance and
s the standard deviation over all neighbors::

    weight = softmax over neighbors of  mean over colors of -(|ΔI| / (s_I · w1))²
           + w2 · softmax over neighbors of  -(Δ / (s_Δ · w1))²

``run`` makes affinity labels with it: the strong and the weak background are refined by PAR at half
the photo's size instead of by a dense CRF.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.experiments.changed_run import parse, run_changed
from tag2mask.steps import affinity_labels

DILATIONS, ITERATIONS = (1, 2, 4, 8, 12, 24), 10
COLOR_WEIGHT, DISTANCE_WEIGHT = 0.3, 0.01
"""w1 and w2."""
_OFFSETS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
Float32 = npt.NDArray[np.float32]


def neighbors(maps: Tensor, dilations: Sequence[int]) -> Tensor:
    """Return the neighbors of each cell, (c, h, w) -> (c, 8 · dilations, h, w)."""
    height, width = maps.shape[1:]
    found = []
    for d in dilations:
        padded = F.pad(maps[None], [d] * 4, mode="replicate")[0]
        for y, x in _OFFSETS:
            rows, columns = (
                slice(d + y * d, d + y * d + height),
                slice(d + x * d, d + x * d + width),
            )
            found.append(padded[:, rows, columns])
    return torch.stack(found, dim=1)


def weights(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """Return the weights of the neighbors of each pixel, (3, h, w) -> (8 · dilations, h, w)."""
    colors = neighbors(image, dilations)  # (3, n, h, w)
    spread = colors.std(dim=1, keepdim=True) + 1e-8
    of_color = -(((colors - image[:, None]).abs() / spread / COLOR_WEIGHT) ** 2).mean(dim=0)
    distance = torch.tensor([d * float(np.hypot(y, x)) for d in dilations for y, x in _OFFSETS])
    of_distance = -((distance / (distance.std() + 1e-8) / COLOR_WEIGHT) ** 2)
    near = DISTANCE_WEIGHT * of_distance.softmax(dim=0)[:, None, None]
    return of_color.softmax(dim=0) + near.to(image)


@torch.inference_mode()
def refine(
    photo: npt.NDArray[np.uint8],
    maps: Float32,
    *,
    dilations: Sequence[int] = DILATIONS,
    iterations: int = ITERATIONS,
) -> Float32:
    """Refine maps of a photo.

    Args:
        photo: RGB, uint8 (h, w, 3).
        maps: float32 (c, h, w).
        dilations: distances d.
        iterations: number of times.

    Returns:
        float32 (c, h, w).
    """
    image = torch.from_numpy(photo).permute(2, 0, 1).float()
    affinity, refined = weights(image, dilations), torch.from_numpy(maps)
    for _ in range(iterations):
        refined = torch.stack(
            [(neighbors(one[None], dilations)[0] * affinity).sum(dim=0) for one in refined]
        )
    found: Float32 = refined.numpy()
    return found


class ParRefiner:
    """PAR in place of a `tag2mask.crf.dense_crf.DenseCrf`, at half the photo's size.

    Args:
        image: RGB, uint8 (h, w, 3).
        settings: those of the CRF, without effect.
        threads: as for the CRF, without effect: torch's own number is used.
    """

    def __init__(self, image: npt.NDArray[np.uint8], settings: object, *, threads: int = 1) -> None:
        self.size = image.shape[:2]
        self.half = tuple(max(1, side // 2) for side in self.size)
        small = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
        small = F.interpolate(small, self.half, mode="bilinear", antialias=True)[0]
        self.image = small.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()

    def refine(self, scores: Float32) -> Float32:
        """Refine scores (c, h, w) of the photo's size, background first."""
        small = F.interpolate(torch.from_numpy(scores)[None], self.half, mode="area")[0]
        refined = torch.from_numpy(refine(self.image, small.numpy()))
        full: Float32 = F.interpolate(refined[None], self.size, mode="bilinear")[0].numpy()
        return full


def main(words: Sequence[str] | None = None) -> None:
    """Run ``tag2mask`` with PAR in place of the CRFs for affinity labels."""
    options = parse(argparse.ArgumentParser(description=__doc__.splitlines()[0]), words)
    run_changed(affinity_labels, "DenseCrf", ParRefiner, options.command)


if __name__ == "__main__":
    main()
