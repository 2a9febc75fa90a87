"""Scores of the random walk at every setting of a grid, from one affinity per photo.

The walk is linear and treats each map separately. So the photo's classes walk once, together with
one background map (1 - max)^α per α; a long walk passes through the shorter ones; and one pass over
the result evaluates every background threshold. A photo is reduced to pixel counts of its own
classes by setting and threshold; the mIoU over any set of photos follows exactly from these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from torch import Tensor

from tag2mask.affinity.random_walk import Walk
from tag2mask.classes import BACKGROUND, IGNORE, mask_id
from tag2mask.maps.background_threshold import against_background
from tag2mask.metrics.confusion import Float64, Int64, Labels, ratio
from tag2mask.metrics.threshold_curve import Float32, ThresholdCurve


@dataclass(frozen=True)
class WalkSetting:
    """Settings of a walk.

    Attributes:
        alpha: exponent α of the background map (1 - max)^α.
        beta: exponent β of the affinities.
        steps: number t of steps.
    """

    alpha: float
    beta: float
    steps: int


@dataclass(frozen=True)
class WalkGrid:
    """All combinations of settings of the walk, and the background thresholds applied after it.

    Attributes:
        alphas: exponents of the background, > 0.
        betas: exponents of the affinities, > 0.
        steps: numbers of steps, >= 0.
        thresholds: background thresholds, strictly rising, in [0, 1].
    """

    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    steps: tuple[int, ...]
    thresholds: tuple[float, ...]

    @property
    def settings(self) -> list[WalkSetting]:
        """Every setting, in the order of `walked_scores`."""
        return [
            WalkSetting(alpha, beta, steps)
            for beta, steps, alpha in product(self.betas, self.steps, self.alphas)
        ]

    def outermost(self, setting: WalkSetting) -> list[str]:
        """Return which of alphas, betas and steps have the smallest or largest value of the grid.

        A better setting may be outside the grid then. 0 steps does not count.
        """
        values = {
            "alphas": (self.alphas, setting.alpha),
            "betas": (self.betas, setting.beta),
            "steps": (self.steps, setting.steps),
        }
        return [
            name
            for name, (given, value) in values.items()
            if value in (min(given), max(given)) and value > 0 and len(set(given)) > 1
        ]


@dataclass(frozen=True, eq=False)
class PhotoTallies:
    """Pixel counts of one photo's own classes at S settings and T background thresholds.

    Attributes:
        ids: mask ids of the photo's n classes, background first.
        true: int64 (n,), pixels by true class.
        predicted: int64 (S, n, T), pixels by predicted class.
        hits: int64 (S, n, T), correctly predicted pixels.
    """

    ids: tuple[int, ...]
    true: Int64
    predicted: Int64
    hits: Int64


@dataclass
class WalkTallies:
    """Pixel counts of all classes, summed over photos.

    Attributes:
        grid: settings and thresholds.
        true: int64 (C+1,).
        predicted: int64 (S, C+1, T).
        hits: int64 (S, C+1, T).
    """

    grid: WalkGrid
    true: Int64
    predicted: Int64
    hits: Int64

    @classmethod
    def empty(cls, classes: int, grid: WalkGrid) -> WalkTallies:
        """Return zero counts of C foreground classes."""
        shape = (len(grid.settings), classes + 1, len(grid.thresholds))
        return cls(
            grid,
            np.zeros(classes + 1, np.int64),
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int64),
        )

    def add(self, photo: PhotoTallies) -> None:
        """Add the counts of one photo."""
        ids = list(photo.ids)
        self.true[ids] += photo.true
        self.predicted[:, ids] += photo.predicted
        self.hits[:, ids] += photo.hits

    def merge(self, other: WalkTallies) -> None:
        """Add the counts of other photos or of another process."""
        assert self.grid == other.grid
        self.true += other.true
        self.predicted += other.predicted
        self.hits += other.hits

    def miou(self) -> Float64:
        """Return the mIoU by setting and threshold, (S, T); NaN if no pixel was counted."""
        union: Int64 = self.true[:, None] + self.predicted - self.hits
        present: Int64 = (union > 0).sum(axis=1)
        total = ratio(self.hits, union, empty=0.0).sum(axis=1)
        mean: Float64 = np.full_like(total, np.nan)
        np.divide(total, present, out=mean, where=present > 0)
        return mean


@dataclass(frozen=True)
class TunedWalk:
    """A setting of the walk with its best background threshold.

    Attributes:
        setting: the setting of the walk.
        threshold: the background threshold; the lowest one in case of a tie.
        miou: their mIoU, in [0, 1].
    """

    setting: WalkSetting
    threshold: float
    miou: float


def best_settings(grid: WalkGrid, miou: Float64) -> list[TunedWalk]:
    """Return every setting with its best background threshold, best setting first.

    Ties are resolved by fewer steps, then by the grid's order.

    Args:
        grid: settings and thresholds.
        miou: float64 (S, T) in [0, 1], without NaN.
    """
    chosen = miou.argmax(axis=1)
    tuned = [
        TunedWalk(setting, grid.thresholds[index], float(row[index]))
        for setting, index, row in zip(grid.settings, chosen, miou, strict=True)
    ]
    return sorted(tuned, key=lambda found: (-found.miou, found.setting.steps))


def walked_scores(
    walk_at: Callable[[float], Walk],
    backgrounds: Tensor,
    classes: Tensor,
    *,
    grid: WalkGrid,
    from_grid: Callable[[Tensor], Float32],
) -> Iterator[Float32]:
    """Walk a photo's maps at every setting of a grid.

    Args:
        walk_at: returns the walk along the photo's affinities to the power β.
        backgrounds: (a, h, w), one map for each of the grid's alphas.
        classes: (k, h, w), the foreground maps.
        grid: settings of the walk.
        from_grid: resizes maps (a+k, h, w) to the size at which maps are stored, float32
            (a+k, h', w').

    Yields:
        float32 (k, h', w') in [0, 1] for each of ``grid.settings``: foreground scores that exceed
        0.5 where they exceed the walked background.
    """
    assert len(backgrounds) == len(grid.alphas), (len(backgrounds), grid.alphas)
    count = len(backgrounds)
    maps = classes.new_empty(count + len(classes), *classes.shape[1:])
    maps[:count], maps[count:] = backgrounds, classes
    for beta in grid.betas:
        for walked in walk_at(beta).run_each(maps, steps=grid.steps):
            resized = from_grid(walked)
            for background in resized[:count]:
                competing = np.concatenate([background[None], resized[count:]])
                yield np.clip(against_background(competing), 0, 1)


def count_photo(
    truth: Labels, tags: Sequence[int], scores: Iterable[Float32], grid: WalkGrid
) -> PhotoTallies:
    """Count one photo's pixels at every setting and background threshold.

    Args:
        truth: mask ids uint8 (H, W), 255 = void.
        tags: k tag ids, in rising order.
        scores: float32 (k, H, W) for each of ``grid.settings``; ignored without tags, as everything
            is background then.
        grid: settings and background thresholds.
    """
    found = set(np.unique(truth).tolist()) - {IGNORE, BACKGROUND}
    foreground = sorted(found | {mask_id(tag) for tag in tags})
    # Counted as if there were no other classes: memory grows with the square of their number.
    own = np.full(256, IGNORE, np.uint8)
    own[[BACKGROUND, *foreground]] = np.arange(len(foreground) + 1)
    own_truth = own[truth]
    own_tags = [foreground.index(mask_id(tag)) for tag in tags]
    if not tags:
        scores = [np.zeros((0, *truth.shape), np.float32)]
    counted = []
    for maps in scores:
        curve = ThresholdCurve.empty(max(1, len(foreground)), grid.thresholds)
        curve.add(own_truth, own_tags, maps)
        counted.append(curve.tallies())
    size = len(foreground) + 1
    shape = (len(grid.settings), size, len(grid.thresholds))
    predicted: npt.NDArray[np.int64] = np.array([one[1][:size] for one in counted])
    hits: npt.NDArray[np.int64] = np.array([one[2][:size] for one in counted])
    return PhotoTallies(
        (BACKGROUND, *foreground),
        counted[0][0][:size],
        np.broadcast_to(predicted, shape),
        np.broadcast_to(hits, shape),
    )
