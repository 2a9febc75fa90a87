"""Quality score of a photo's masks, from evidence that needs no ground truth.

No single sign of a good mask holds for every data set and network, and their scales differ. So each
photo is ranked among the others by each sign, and its score is its mean rank: a score of 0.1 says
that nine in ten photos have better evidence. Ranks don't say how good the best photo is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tag2mask.metrics.confusion import Float64


def quality_scores(evidence: Sequence[Mapping[str, float]]) -> list[float | None]:
    """Return the score of each photo in (0, 1), higher for better evidence.

    Args:
        evidence: for each photo, values by kind; larger means better. A kind may be missing.

    Returns:
        The mean over a photo's kinds of its rank among the photos that have the kind; None for a
        photo without evidence.

    Example:
        >>> from tag2mask.metrics.quality import quality_scores
        >>> quality_scores([{"agreement": 0.9, "tags": 0.8}, {"agreement": 0.2, "tags": 0.5}, {}])
        [0.75, 0.25, None]
    """
    ranks: list[list[float]] = [[] for _ in evidence]
    for kind in dict.fromkeys(kind for own in evidence for kind in own):
        having = [place for place, own in enumerate(evidence) if kind in own]
        values = np.array([evidence[place][kind] for place in having])
        for place, rank in zip(having, _percentile_ranks(values).tolist(), strict=True):
            ranks[place].append(rank)
    return [float(np.mean(own)) if own else None for own in ranks]


def soft_minimum(values: Float64, sharpness: float = 2.0) -> float:
    """Return a value between the minimum and the mean: -ln(mean(exp(-s x))) / s.

    One bad value lowers it more than one good value raises it.

    Args:
        values: at least one, in [0, 1].
        sharpness: s > 0; near 0 it is the mean, at large values the minimum.
    """
    return float(-np.log(np.mean(np.exp(-sharpness * values))) / sharpness)


def _percentile_ranks(values: Float64) -> Float64:
    """Return the share of values below each value, with half of those equal to it."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Float64 = ((np.cumsum(counts) - counts / 2) / len(values))[inverse]
    return ranks
