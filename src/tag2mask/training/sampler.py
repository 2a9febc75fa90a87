"""The order of the training photos: which ones are in the batch of a training step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tag2mask.errors import RecipeError
from tag2mask.training.mixture import PhotoChoice


class StepBatchSampler:
    """Batch sampler that yields one batch per training step, beginning at any step.

    Each epoch is a permutation drawn from (seed, epoch). The last, incomplete batch of an epoch is
    dropped, as in the authors' code, unless there are fewer photos than one batch.

    Yields lists of (epoch, photo index).

    Args:
        photos: number of photos.
        batch_size: photos per step over all ranks.
        start: first step.
        stop: one past the last step.
        seed: seed of the permutations.
        rank: index of this process.
        world_size: number of processes; each gets its share of a batch.
        setting: recipe key of the batch size, for error messages.
        mix: replaces the photos of the permutation; None: each photo comes once per epoch.

    Raises:
        RecipeError: fewer photos in a batch than processes.

    Example:
        >>> batches = list(StepBatchSampler(10, 4, start=0, stop=3, seed=0))
        >>> [(len(batch), batch[0][0]) for batch in batches]  # two steps per epoch
        [(4, 0), (4, 0), (4, 1)]
    """

    def __init__(
        self,
        photos: int,
        batch_size: int,
        *,
        start: int,
        stop: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        setting: str = "train_cam.batch_size",
        mix: PhotoChoice | None = None,
    ) -> None:
        self.photos = photos
        self.batch_size = min(batch_size, photos)
        check_batch_size(self.batch_size, world_size, setting)
        self.start = start
        self.stop = stop
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.mix = mix

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        per_epoch = steps_per_epoch(self.photos, self.batch_size)
        order, drawn = np.empty(0, dtype=np.int64), -1
        for step in range(self.start, self.stop):
            epoch, position = divmod(step, per_epoch)
            if epoch != drawn:
                order = np.random.default_rng((self.seed, epoch)).permutation(self.photos)
                drawn = epoch
            first = position * self.batch_size
            batch = order[first : first + self.batch_size][self.rank :: self.world_size]
            addresses = [(epoch, int(index)) for index in batch]
            yield addresses if self.mix is None else list(map(self.mix.address, addresses))


def steps_per_epoch(photos: int, batch_size: int) -> int:
    """Return the number of complete batches in an epoch, at least 1."""
    return max(1, photos // batch_size)


def epochs_to_steps(
    epochs: int, batches_per_epoch: int, accumulate: int, max_steps: int | None
) -> int:
    """Return the number of optimizer steps of a training, at least 1 and at most ``max_steps``."""
    steps = max(1, epochs * batches_per_epoch // accumulate)
    return steps if max_steps is None else min(steps, max_steps)


def check_batch_size(batch_size: int, processes: int, setting: str) -> None:
    """Check that each process gets a photo of every batch.

    Raises:
        RecipeError: naming the setting of the batch size.
    """
    if batch_size < processes:
        raise RecipeError(
            f"batches of {batch_size} photos can't be shared among {processes} processes",
            where=setting,
            fix="Raise it, or lower runtime.devices.",
        )
