"""CutMix within the batch, and photos of rare classes drawn more often, for the segmenter.

    python -m benchmarks.experiments.tags_alone.segmenter_mixing [--cutmix 0.5] [--repeat 0.1]
        run --data DATA --out RUN ...

CutMix: Yun et al., ICCV 2019 (https://arxiv.org/abs/1905.04899); a rectangle of another photo of
the batch is pasted with its labels, of a uniformly drawn area. Repeat factors: Gupta et al., CVPR
2019 (LVIS, https://arxiv.org/abs/1908.03195, section 5), with f(c) the share of the photos that
show class c and t a threshold, ``--repeat``::

    r(photo) = max over its classes c of  max(1, sqrt(t / f(c)))

An epoch has as many photos as before, drawn in proportion to r. 0 switches either off. With
``--set "train_segmenter.masks=ground truth"`` this is the upper bound.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.experiments.changed_run import parse, run_changed
from tag2mask.errors import RecipeError
from tag2mask.segmentation.dataset import SegmenterBatch
from tag2mask.steps import train_segmenter
from tag2mask.steps.trainers.segmenter_task import SegmenterTask


def repeat_factors(tags: Sequence[Collection[int]], threshold: float) -> list[float]:
    """Return how often each photo is to come, at least 1.

    Args:
        tags: of each photo.
        threshold: t; classes in a smaller share of the photos are repeated.
    """
    count = Counter(tag for own in tags for tag in own)
    rate = {tag: max(1.0, math.sqrt(threshold * len(tags) / n)) for tag, n in count.items()}
    return [max((rate[tag] for tag in own), default=1.0) for own in tags]


class RepeatedPhotos:
    """Chooses photos in proportion to their repeat factors, from (seed, epoch).

    Args:
        factors: of each photo, >= 1.
        seed: seed of the draws.
    """

    def __init__(self, factors: Sequence[float], seed: int) -> None:
        self.factors = np.array(factors)
        self.most = math.ceil(self.factors.max())
        self.seed = seed
        self.epoch, self.places = -1, np.empty((0, 2), np.int64)

    def address(self, drawn: tuple[int, int]) -> tuple[int, int]:
        """See `tag2mask.training.mixture.PhotoChoice`; each repetition has its own number."""
        epoch, place = drawn
        if epoch != self.epoch:
            self.epoch, self.places = epoch, self._draw(epoch)
        number, photo = self.places[place]
        return int(number), int(photo)

    def _draw(self, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        rng = np.random.default_rng((self.seed, epoch, 2))
        times = np.floor(self.factors + rng.random(len(self.factors))).astype(np.int64)
        found = [
            (epoch * (self.most + 1) + time, photo)
            for photo, count in enumerate(times)
            for time in range(count)
        ]
        return np.array(found)[rng.permutation(len(found))[: len(self.factors)]]


def cutmix(
    image: Tensor, labels: Tensor, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of another photo into some photos of a batch.

    Args:
        image: (b, 3, h, w).
        labels: (b, h, w).
        share: probability that a photo is changed.
        generator: where random numbers come from.

    Returns:
        Both, changed copies.
    """
    batch, _, height, width = image.shape
    mixed, mixed_labels = image.clone(), labels.clone()
    others = torch.randperm(batch, generator=generator).tolist()
    for row, other in enumerate(others):
        chosen, area, down, right = torch.rand(4, generator=generator).tolist()
        if chosen >= share or other == row:
            continue
        side = math.sqrt(area)
        rows, columns = _span(height, side, down), _span(width, side, right)
        mixed[row, :, rows, columns] = image[other, :, rows, columns]
        mixed_labels[row, rows, columns] = labels[other, rows, columns]
    return mixed, mixed_labels


def _span(length: int, side: float, center: float) -> slice:
    """Return the pixels of a rectangle along an axis; ``side``, ``center``: shares of it."""
    first, last = round((center - side / 2) * length), round((center + side / 2) * length)
    return slice(max(0, first), min(length, last))


class MixedTask(SegmenterTask):
    """The task with both changes.

    Args:
        *given: as for `SegmenterTask`.
        share: probability that a photo gets a rectangle of another one.
        threshold: t of the repeat factors; 0: every photo once per epoch.
    """

    def __init__(self, *given: Any, share: float, threshold: float) -> None:
        super().__init__(*given)
        if self.section.absent_weight > 0:
            raise RecipeError(
                "tags don't apply to what CutMix pastes from other photos",
                where="train_segmenter.absent_weight",
                fix="Set it to 0.",
            )
        self.share = share
        if threshold > 0:
            if self.mix is not None:
                raise RecipeError(
                    "rare classes can't be repeated where drawn masks have a share of their own",
                    where="train_segmenter.masks",
                    fix="Set it to pseudo, or give --repeat 0.",
                )
            tags = [sample.tags for sample in self.photos.samples]
            self.mix = RepeatedPhotos(repeat_factors(tags, threshold), self.section.seed)

    def inputs(self, batch: SegmenterBatch, step: int, device: torch.device) -> tuple[Any, ...]:
        """Return images and labels after CutMix."""
        image, labels, *weights = super().inputs(batch, step, device)
        generator = torch.Generator().manual_seed((self.section.seed * 1_000_003 + step) % 2**63)
        return *cutmix(image, labels, self.share, generator), *weights


def main(words: Sequence[str] | None = None) -> None:
    """Run ``tag2mask`` with both changes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cutmix", type=float, default=0.5)
    parser.add_argument("--repeat", type=float, default=0.1)
    options = parse(parser, words)
    task = partial(MixedTask, share=options.cutmix, threshold=options.repeat)
    run_changed(train_segmenter, "SegmenterTask", task, options.command)


if __name__ == "__main__":
    main()
