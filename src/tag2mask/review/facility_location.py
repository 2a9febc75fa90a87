"""Greedy facility location: a few items that represent the others.

One after the other, the item j with the largest gain is chosen::

    Σ_i weight_i · max(0, similarity_ij - represented_i)

where represented_i is the largest similarity of item i to any item chosen so far. Nemhauser, Wolsey
and Fisher, Mathematical Programming 1978 (https://doi.org/10.1007/BF01588971).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
_TIE = 1e-6
"""Weight of an item's own term: it decides between items that represent no others."""


def cosine_similarity(vectors: Float32) -> Float32:
    """Return the cosines of all pairs of vectors, relative to their mean.

    Args:
        vectors: float32 (n, d).

    Returns:
        float32 (n, n), 0 where a cosine is negative or a vector equals the mean.
    """
    centered = vectors - vectors.mean(axis=0)
    lengths = np.linalg.norm(centered, axis=1, keepdims=True)
    unit = np.divide(centered, lengths, out=np.zeros_like(centered), where=lengths > 0)
    cosines: Float32 = (unit @ unit.T).clip(0)
    return cosines


def facility_location(
    similarity: Float32, weights: Float32, count: int, *, represented: Float32 | None = None
) -> list[int]:
    """Choose items that represent the others.

    Args:
        similarity: float32 (n, n) in [0, 1], symmetric; the diagonal is how far an item represents
            itself.
        weights: float32 (n,), >= 0.
        count: number of items to choose; at most n are.
        represented: float32 (n,) in [0, 1], the largest similarity to items that are chosen
            already; None: there are none.

    Returns:
        The places of the chosen items, in the order of the choice.

    Example:
        >>> import numpy as np
        >>> from tag2mask.review.facility_location import facility_location
        >>> similarity = np.array([[1, 0.9, 0], [0.9, 1, 0.2], [0, 0.2, 1]], np.float32)
        >>> facility_location(similarity, np.ones(3, np.float32), 2)
        [1, 2]
    """
    if represented is None:
        represented = np.zeros(len(similarity), np.float32)
    chosen: list[int] = []
    for _ in range(min(count, len(similarity))):
        added = weights @ np.maximum(similarity - represented[:, None], 0)
        added += _TIE * weights * (1 - represented)
        added[chosen] = -np.inf
        chosen.append(int(added.argmax()))
        represented = np.maximum(represented, similarity[:, chosen[-1]])
        represented[chosen] = 1
    return chosen
