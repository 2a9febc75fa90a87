"""Scores of a random walk at every setting of a grid, from one affinity a photo.

The walk is linear and treats each map alone, so the photo's classes walk once, and beside them one
more map for each background (1 - max)^α; a walk of many steps passes the shorter ones on its way;
and one pass over the result counts every background threshold. What is left of a photo are pixel
counts of its own classes by setting and score, from which the mIoU over any photos follows exactly.
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
from tag2mask.maps.background import against_background
from tag2mask.metrics.confusion import Float64, Int64, Labels, ratio
from tag2mask.metrics.threshold_curve import Float32, ThresholdCurve


@dataclass(frozen=True)
class WalkSetting:
    """How a walk is led: exponents of the background and of the affinities, number of steps."""

    alpha: float
    beta: float
    steps: int


@dataclass(frozen=True)
class WalkGrid:
    """Settings of the walk, each combined with each, and the background thresholds after it.

    Attributes:
        alphas: exponents of the background, > 0.
        betas: exponents of the affinities, > 0.
        steps: numbers of steps, >= 0.
        scores: background thresholds, strictly rising, in [0, 1].
    """

    alphas: tuple[float, ...]
    betas: tuple[float, ...]
    steps: tuple[int, ...]
    scores: tuple[float, ...]

    @property
    def settings(self) -> list[WalkSetting]:
        """Every setting, in the order in which `walked_scores` gives them."""
        return [
            WalkSetting(alpha, beta, steps)
            for beta, steps, alpha in product(self.betas, self.steps, self.alphas)
        ]

    def at_an_end(self, setting: WalkSetting) -> list[str]:
        """Which of alphas, betas and steps a setting takes the first or last value of.

        A better one may lie beyond. No step at all is an end with nothing beyond.
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
        hits: int64 (S, n, T), pixels predicted rightly.
    """

    ids: tuple[int, ...]
    true: Int64
    predicted: Int64
    hits: Int64


@dataclass
class WalkTallies:
    """The same summed over photos, of all classes.

    Attributes:
        grid: its settings and scores.
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
        shape = (len(grid.settings), classes + 1, len(grid.scores))
        return cls(
            grid,
            np.zeros(classes + 1, np.int64),
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int64),
        )

    def add(self, photo: PhotoTallies) -> None:
        """Add one photo."""
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
        """Mean IoU by setting and score (S, T), as `ThresholdCurve.miou`; NaN without a pixel."""
        union: Int64 = self.true[:, None] + self.predicted - self.hits
        present: Int64 = (union > 0).sum(axis=1)
        total = ratio(self.hits, union, empty=0.0).sum(axis=1)
        mean: Float64 = np.full_like(total, np.nan)
        np.divide(total, present, out=mean, where=present > 0)
        return mean


@dataclass(frozen=True)
class TunedWalk:
    """A setting at the background threshold that is best for it.

    Attributes:
        setting: of the walk.
        score: the background threshold; the lowest of equals.
        miou: at both, in [0, 1].
    """

    setting: WalkSetting
    score: float
    miou: float


def best_settings(grid: WalkGrid, miou: Float64) -> list[TunedWalk]:
    """Every setting at its best background threshold, best setting first.

    Of settings that are equally good the one of fewer steps comes first, then the grid's order.

    Args:
        grid: settings and scores.
        miou: (S, T), without NaN.
    """
    chosen = miou.argmax(axis=1)
    tuned = [
        TunedWalk(setting, grid.scores[index], float(row[index]))
        for setting, index, row in zip(grid.settings, chosen, miou, strict=True)
    ]
    return sorted(tuned, key=lambda found: (-found.miou, found.setting.steps))


def walked_scores(
    affinity: Tensor,
    backgrounds: Tensor,
    classes: Tensor,
    *,
    radius: int,
    grid: WalkGrid,
    enlarged: Callable[[Tensor], Float32],
) -> Iterator[Float32]:
    """Walk a photo's maps at every setting of a grid.

    Args:
        affinity: (offsets, h, w), see `random_walk`.
        backgrounds: (a, h, w), one map for each of the grid's alphas.
        classes: (k, h, w), the foreground.
        radius: of the pairs.
        grid: settings.
        enlarged: brings maps (a+k, h, w) to the size they are stored at, float32 (a+k, h', w').

    Yields:
        float32 (k, h', w') in [0, 1] of each of ``grid.settings``: foreground that beats 0.5 where
        it beats the walked background.
    """
    assert len(backgrounds) == len(grid.alphas), (len(backgrounds), grid.alphas)
    count = len(backgrounds)
    maps = classes.new_empty(count + len(classes), *classes.shape[1:])
    maps[:count], maps[count:] = backgrounds, classes
    for beta in grid.betas:
        for walked in Walk(affinity, radius=radius, beta=beta).at(maps, steps=grid.steps):
            cells = enlarged(walked)
            for background in cells[:count]:
                rivals = np.concatenate([background[None], cells[count:]])
                yield np.clip(against_background(rivals), 0, 1)


def count_photo(
    truth: Labels, tags: Sequence[int], scores: Iterable[Float32], grid: WalkGrid
) -> PhotoTallies:
    """Count one photo's pixels at every setting and background threshold.

    Args:
        truth: mask ids uint8 (H, W), 255 = void.
        tags: k tag ids, rising.
        scores: float32 (k, H, W) of each of ``grid.settings``; not looked at without a tag, where
            all is background at any setting.
        grid: settings and background thresholds.
    """
    found = set(np.unique(truth).tolist()) - {IGNORE, BACKGROUND}
    foreground = sorted(found | {mask_id(tag) for tag in tags})
    # Counted as if these were all classes there are: else memory would grow with their square.
    own = np.full(256, IGNORE, np.uint8)
    own[[BACKGROUND, *foreground]] = np.arange(len(foreground) + 1)
    own_truth = own[truth]
    own_tags = [foreground.index(mask_id(tag)) for tag in tags]
    if not tags:
        scores = [np.zeros((0, *truth.shape), np.float32)]
    counted = []
    for maps in scores:
        curve = ThresholdCurve.empty(max(1, len(foreground)), grid.scores)
        curve.add(own_truth, own_tags, maps)
        counted.append(curve.tallies())
    size = len(foreground) + 1
    shape = (len(grid.settings), size, len(grid.scores))
    predicted: npt.NDArray[np.int64] = np.array([one[1][:size] for one in counted])
    hits: npt.NDArray[np.int64] = np.array([one[2][:size] for one in counted])
    return PhotoTallies(
        (BACKGROUND, *foreground),
        counted[0][0][:size],
        np.broadcast_to(predicted, shape),
        np.broadcast_to(hits, shape),
    )
