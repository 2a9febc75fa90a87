"""Quality of the tag classifier, and tags that it contradicts.

Without masks, these are the only scores: a classifier that confuses classes can't localize them
either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tag2mask.metrics.confusion import Float64, mean_of_present, ratio

Probabilities = npt.NDArray[np.float32]
TagTable = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TagQuality:
    """Scores of the classifier on tagged photos, by tag id.

    Attributes:
        photos: number of photos with the tag, int64 (C,).
        average_precision: float64 (C,) in [0, 1]; NaN for a class without photos.
        precision, recall, f1: float64 (C,) in [0, 1] at the threshold; NaN where undefined.
    """

    photos: npt.NDArray[np.int64]
    average_precision: Float64
    precision: Float64
    recall: Float64
    f1: Float64

    @property
    def mean_average_precision(self) -> float:
        """The mean average precision (mAP) over the classes with photos."""
        return mean_of_present(self.average_precision)

    @property
    def mean_f1(self) -> float:
        """The mean F1 over the classes with photos."""
        return mean_of_present(self.f1[self.photos > 0])


def tag_table(tags: Sequence[Sequence[int]], classes: int) -> TagTable:
    """Return the tags of photos as a table, bool (N, C).

    Args:
        tags: tag ids of each photo.
        classes: number of classes C.
    """
    table = np.zeros((len(tags), classes), np.bool_)
    for row, own in enumerate(tags):
        table[row, list(own)] = True
    return table


def tag_quality(probabilities: Probabilities, tags: TagTable, threshold: float = 0.5) -> TagQuality:
    """Score tag probabilities against known tags.

    Average precision ranks the photos by probability and sums the precision P over the steps of the
    recall R, without interpolation: AP = Σ_n (R_n - R_{n-1}) P_n, as in scikit-learn's
    `average_precision_score`. F1 = 2 TP / (2 TP + FP + FN).

    Args:
        probabilities: float32 (n, C) in [0, 1].
        tags: bool (n, C), the known tags.
        threshold: a class is predicted where its probability is at least this.
    """
    from sklearn.metrics import average_precision_score  # slow to import; a dry run needs none

    assert probabilities.shape == tags.shape
    photos = tags.sum(axis=0)
    average = np.full(tags.shape[1], np.nan)
    for c in np.flatnonzero(photos):
        average[c] = average_precision_score(tags[:, c], probabilities[:, c])
    predicted = probabilities >= threshold
    hits = (predicted & tags).sum(axis=0)
    total = predicted.sum(axis=0)
    return TagQuality(
        photos=photos,
        average_precision=average,
        precision=ratio(hits, total),
        recall=ratio(hits, photos),
        f1=ratio(2 * hits, total + photos),
    )


@dataclass(frozen=True)
class TagDoubt:
    """One tag that the classifier contradicts.

    Attributes:
        photo: row of the photo.
        tag: tag id.
        kind: ``missing``: predicted, but not tagged; ``wrong``: tagged, but not predicted.
        probability: of the class, in [0, 1].
        margin: distance of the probability from the class's limit, in (0, 1].
    """

    photo: int
    tag: int
    kind: Literal["missing", "wrong"]
    probability: float
    margin: float


def doubtful_tags(probabilities: Probabilities, tags: TagTable, most: int = 100) -> list[TagDoubt]:
    """List the tags that look wrong or missing, largest margin first.

    A variant of confident learning (Northcutt, Jiang, Chuang, JAIR 2021,
    https://arxiv.org/abs/1911.00068) with one binary problem per class. The limit of a class is
    halfway between its mean probability over the photos with the tag and over those without it. A
    photo on the wrong side of the limit is doubtful; the margin is its distance from the limit.

    Args:
        probabilities: float32 (n, C) in [0, 1].
        tags: bool (n, C), the known tags.
        most: maximum length of the list.
    """
    assert probabilities.shape == tags.shape
    values = probabilities.astype(np.float64)
    with_tag, without = _mean_where(values, tags), _mean_where(values, ~tags)
    # False too where all or no photos have the tag, so that one of the means is NaN.
    separable = with_tag > without
    # (n, C): positive where the classifier contradicts the tag.
    excess = values - (with_tag + without) / 2
    margin = np.where(separable, np.where(tags, -excess, excess), 0.0)
    rows, columns = np.nonzero(margin > 0)
    order = np.argsort(-margin[rows, columns], kind="stable")[:most]
    return [
        TagDoubt(
            int(r),
            int(c),
            "wrong" if tags[r, c] else "missing",
            float(values[r, c]),
            float(margin[r, c]),
        )
        for r, c in zip(rows[order], columns[order], strict=True)
    ]


def _mean_where(values: Float64, chosen: TagTable) -> Float64:
    """Return the mean of each column over its chosen rows (C,); NaN without chosen rows."""
    count = chosen.sum(axis=0)
    total = np.where(chosen, values, 0.0).sum(axis=0)
    out = np.full(count.shape, np.nan)
    np.divide(total, count, out=out, where=count > 0)
    return out
