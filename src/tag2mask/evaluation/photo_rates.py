"""Missed classes and false alarms of the network per photo, against the tags: no masks are needed.

A photo shows a class if the class has at least a given share of its area in the network's mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tag2mask.classes import ClassSet, mask_id
from tag2mask.evaluation.records import ClassRates, PhotoRates
from tag2mask.metrics.bootstrap import Interval, wilson_interval
from tag2mask.metrics.confusion import Float64, Int64, Labels

Table = npt.NDArray[np.bool_]
Column = npt.NDArray[np.bool_]
Names = npt.NDArray[np.str_]


def class_areas(mask: Labels, classes: ClassSet) -> dict[str, float]:
    """Return the share of the photo of each class that a mask (h, w) shows."""
    counts = np.bincount(mask.ravel(), minlength=len(classes) + 1)  # ignored pixels show none
    return {
        name: round(int(counts[mask_id(tag)]) / mask.size, 6)
        for tag, name in enumerate(classes.names)
        if counts[mask_id(tag)]
    }


def photo_rates(
    areas: Float64, tags: Table, groups: Sequence[str], names: Sequence[str], min_area: float
) -> PhotoRates:
    """Compare the classes that masks show with the tags.

    Args:
        areas: float64 (n, C), the share of each class of each photo.
        tags: bool (n, C), the known tags; a photo without one shows the background only.
        groups: the group of each photo.
        names: the classes (C).
        min_area: a class with at least this share of a photo is shown.
    """
    shown = ((areas >= min_area) & (areas > 0)).astype(np.int64)
    given = tags.astype(np.int64)
    untagged = (~tags.any(axis=1)).astype(np.int64)
    # Other classes of a photo's tags are neither missed nor false alarms.
    among = np.vstack([given.T @ (1 - given), np.full(tags.shape[1], untagged.sum())])
    found = np.vstack([given.T @ (shown * (1 - given)), untagged @ shown])
    np.fill_diagonal(among, given.sum(axis=0))
    np.fill_diagonal(found, (given * shown).sum(axis=0))
    return PhotoRates(
        photos=len(tags),
        groups=len(set(groups)),
        min_area=min_area,
        classes=tuple(
            _class_rates(name, tags[:, c], shown[:, c], np.array(groups))
            for c, name in enumerate(names)
        ),
        shown=tuple(map(tuple, found.tolist())),
        among=tuple(map(tuple, among.tolist())),
    )


def cell_interval(rates: PhotoRates, row: int, column: int) -> Interval | None:
    """Return the 95 % interval of a cell of the matrix; None without photos.

    Its groups are taken to be as large as those of all photos.
    """
    among = rates.among[row][column]
    groups = max(1, round(among * rates.groups / rates.photos)) if among else None
    return wilson_interval(rates.shown[row][column], among, groups)


def _class_rates(name: str, tagged: Column, shown: Int64, groups: Names) -> ClassRates:
    def interval(hits: int, of: Column) -> Interval | None:
        return wilson_interval(hits, int(of.sum()), len(set(groups[of])))

    missed, alarms = int((1 - shown[tagged]).sum()), int(shown[~tagged].sum())
    return ClassRates(
        name,
        int(tagged.sum()),
        missed,
        interval(missed, tagged),
        int((~tagged).sum()),
        alarms,
        interval(alarms, ~tagged),
    )
