"""Choice of photos where some have better labels than the others and are to be seen more often."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class PhotoChoice(Protocol):
    """Chooses the photos of an epoch in place of a permutation of all photos."""

    def address(self, drawn: tuple[int, int]) -> tuple[int, int]:
        """Return (number that its augmentation is drawn from, photo) of a place.

        Args:
            drawn: (epoch, place) of the sampler, the place in 0 .. photos - 1.
        """


class PhotoMix:
    """Gives the photos with better labels a fixed share of the places of each epoch.

    Both groups are gone through one after the other, each time in an order drawn from (seed,
    passes), so that every photo of a group comes equally often.

    Args:
        photos: number of photos, which is also the number of places of an epoch.
        better: indices of the photos with better labels; at least one.
        share: their share of the places, in [0, 1].
        seed: seed of the orders.

    Example:
        >>> mix = PhotoMix(8, [2, 5], share=0.5, seed=0)
        >>> places = [mix.address((0, place)) for place in range(8)]
        >>> sorted(photo for _, photo in places[:4]), [passes for passes, _ in places[:4]]
        ([2, 2, 5, 5], [0, 0, 1, 1])
    """

    def __init__(self, photos: int, better: Collection[int], share: float, seed: int) -> None:
        assert better and max(better) < photos, (photos, better)
        self.photos = photos
        self.better = sorted(better)
        self.others = sorted(set(range(photos)) - set(better))
        self.places = photos if not self.others else max(1, round(share * photos))
        self.seed = seed
        self._orders: dict[tuple[int, int], NDArray[np.int64]] = {}  # of one epoch
        self._epoch = -1

    def address(self, drawn: tuple[int, int]) -> tuple[int, int]:
        """Return (passes of its group so far, photo) of a place.

        Args:
            drawn: (epoch, place) of the sampler, the place in 0 .. photos - 1.
        """
        epoch, place = drawn
        if epoch != self._epoch:
            self._orders, self._epoch = {}, epoch
        if place < self.places:
            return self._photo(self.better, epoch * self.places + place, 0)
        rest = self.photos - self.places
        return self._photo(self.others, epoch * rest + place - self.places, 1)

    def _photo(self, group: Sequence[int], number: int, key: int) -> tuple[int, int]:
        passes, position = divmod(number, len(group))
        order = self._orders.get((passes, key))
        if order is None:
            order = np.random.default_rng((self.seed, passes, key)).permutation(len(group))
            self._orders[passes, key] = order
        return passes, group[order[position]]
