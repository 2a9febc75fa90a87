"""Quality of the tag classifier, and photos whose tags it contradicts.

Where there are no masks this is the only evidence: a classifier that can't tell the classes apart
can't localize them either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from tag2mask.metrics.confusion import Float64, mean_of_present, ratio

Probabilities = npt.NDArray[np.float32]
TagTable = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TagQuality:
    """Scores of the classifier on tagged photos, by tag id.

    Attributes:
        photos: tagged photos by class, int64 (C,).
        average_precision: (C,) in [0, 1]; NaN for a class that no photo has.
        precision, recall, f1: (C,) at the threshold; NaN where undefined.
    """

    photos: npt.NDArray[np.int64]
    average_precision: Float64
    precision: Float64
    recall: Float64
    f1: Float64

    @property
    def mean_average_precision(self) -> float:
        """The mAP over the classes that some photo has."""
        return mean_of_present(self.average_precision)

    @property
    def mean_f1(self) -> float:
        """Mean F1 over the classes that some photo has."""
        return mean_of_present(self.f1[self.photos > 0])


def tag_quality(probabilities: Probabilities, tags: TagTable, threshold: float = 0.5) -> TagQuality:
    """Score tag probabilities against known tags.

    Args:
        probabilities: float32 (n, C) in [0, 1].
        tags: bool (n, C), the known tags.
        threshold: a class counts as predicted from this probability on.
    """
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
        kind: ``missing``: not tagged, though the classifier sees it; ``wrong``: tagged, not seen.
        probability: what the classifier gives the class, in [0, 1].
        margin: how far the probability lies on the wrong side of the class's limit, in (0, 1].
    """

    photo: int
    tag: int
    kind: Literal["missing", "wrong"]
    probability: float
    margin: float


def doubtful_tags(probabilities: Probabilities, tags: TagTable, most: int = 100) -> list[TagDoubt]:
    """List the tags that look wrong or missing, the clearest cases first.

    After confident learning (Northcutt et al., JAIR 2021), each class a yes/no question of its own:
    what counts as sure is learnt from the classifier's own averages. A class's limit lies halfway
    between its mean probability over photos that have the tag and over those that don't; a photo
    on the wrong side of the limit is in doubt, the more so the further.

    Args:
        probabilities: float32 (n, C) in [0, 1].
        tags: bool (n, C), the known tags.
        most: length of the list at most.
    """
    assert probabilities.shape == tags.shape
    values = probabilities.astype(np.float64)
    with_tag, without = _mean_where(values, tags), _mean_where(values, ~tags)
    # A class whose means are the wrong way round, or one is missing (NaN), has not been learnt.
    learnt = with_tag > without
    # (n, C): positive where the classifier contradicts the tag.
    excess = values - (with_tag + without) / 2
    margin = np.where(learnt, np.where(tags, -excess, excess), 0.0)
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
    """Mean of each column over its chosen rows (C,); NaN where none is chosen."""
    count = chosen.sum(axis=0)
    total = np.where(chosen, values, 0.0).sum(axis=0)
    out = np.full(count.shape, np.nan)
    np.divide(total, count, out=out, where=count > 0)
    return out
