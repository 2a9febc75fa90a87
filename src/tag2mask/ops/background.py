"""The background of foreground-only maps, and maps that hold one brought back to foreground only.

AffinityNet (Ahn and Kwak, CVPR 2018) gives the background the score (1 - max)^α, with which it
competes in the dense CRF and in the random walk. α and a background score t are one thing: a class
of score t beats the background where t > (1 - t)^α.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

Float32 = npt.NDArray[np.float32]


def alpha_from_score(score: float) -> float:
    """The α at which a class of this score just ties with the background: ln t / ln(1 - t).

    Args:
        score: background score t in (0, 1); 0.2755 gives 4, 0.2219 gives 6, 0.0939 gives 24.
    """
    assert 0 < score < 1, score
    return math.log(score) / math.log1p(-score)


def score_from_alpha(alpha: float) -> float:
    """The background score that ties with (1 - max)^α: the inverse of `alpha_from_score`.

    Args:
        alpha: > 0; 6 gives 0.2219.
    """
    assert alpha > 0, alpha
    return float(brentq(lambda score: alpha_from_score(score) - alpha, 1e-12, 1 - 1e-12))


def with_background(scores: Float32, alpha: float) -> Float32:
    """Put the background's score (1 - max)^α in front.

    Args:
        scores: float32 (k, h, w) in [0, 1]; without a class (k = 0) all is background.
        alpha: > 0; the larger, the weaker the background.

    Returns:
        float32 (k+1, h, w).
    """
    assert scores.ndim == 3 and alpha > 0, (scores.shape, alpha)
    # Interpolated scores may pass 1 by a rounding error, which has no fractional power.
    rest = np.clip(1 - scores.max(axis=0, initial=0.0), 0, None)
    return np.concatenate([(rest**alpha)[None], scores]).astype(np.float32, copy=False)


def against_background(maps: Float32) -> Float32:
    """Turn maps with a background into foreground-only scores that beat 0.5 where they beat it.

    Score of class c: maps[c] / (background + largest class). So the strongest class m scores
    m / (m + background), which exceeds 0.5 exactly where m exceeds the background, and the other
    classes keep their ratio to it. (Each divided by its own sum with the background, classes would
    no longer be told apart where the background is next to nothing.)

    Args:
        maps: float32 (k+1, h, w), >= 0; background first.

    Returns:
        float32 (k, h, w) in [0, 1]; 0 where neither background nor any class has a score.
    """
    assert maps.ndim == 3 and len(maps) >= 1, maps.shape
    background, classes = maps[0], maps[1:]
    total = background + classes.max(axis=0, initial=0.0)
    scores: Float32 = np.divide(classes, total, out=np.zeros_like(classes), where=total > 0)
    return scores
