"""Which classes a photo shows: least area and confidence of each, for a miss rate that is shown.

A class is decided where its share of the pixels and the mean confidence of these pixels both reach
a minimum. The rule is chosen on photos whose tags are known. Their units are groups of photos, such
as the views of one part, and a unit shows a class if any of its photos does.

Of the pairs of minima that miss few enough units, the one with the fewest false alarms is chosen.
Few enough means that the upper end of the 95 % interval of the miss rate is at most the target: of
20 photos without a single miss, the rate may still be 16 %, so 20 photos can't show 10 %.

The rates of the rule are cross-fitted: a fifth of the units after the other is decided by minima
that were chosen on the remaining ones.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tag2mask.metrics.bootstrap import wilson_interval
from tag2mask.metrics.class_rule import ClassRule

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

FOLDS = 5
_CANDIDATES = 40
"""Minima of each kind that are tried."""
_TEMPERATURES = np.geomspace(0.1, 20.0, 400)
_LEAST_EVENTS = 10
"""Right and wrong labels that a temperature is fitted to, at least."""
_NEVER = (math.inf, math.inf)


@dataclass(frozen=True)
class FoundClass:
    """What was found of one class in n photos.

    Attributes:
        areas: share of each photo's pixels, (n,).
        confidences: mean confidence of these pixels, (n,); 0 without any.
        tagged: whether the photo shows the class, (n,).
        units: the photo's group, or its id, (n,).
    """

    areas: Float64
    confidences: Float64
    tagged: Bool
    units: Sequence[str]


class UnreachableError(ValueError):
    """A miss rate that the photos can't show.

    Attributes:
        lowest: the lowest that they can; None: no photo shows the class.
        units: how many units show the class.
        missed: how many of them are missed by any rule.
    """

    def __init__(self, lowest: float | None, units: int, missed: int) -> None:
        super().__init__(lowest)
        self.lowest, self.units, self.missed = lowest, units, missed


def choose_minima(found: FoundClass, miss_rate: float) -> ClassRule:
    """Choose the minima of a class.

    Args:
        found: the photos.
        miss_rate: largest share of missed units, in 0..1.

    Raises:
        UnreachableError: the photos can't show this rate.
    """
    units = _Units(found)
    shown = int(units.tagged.sum())
    missed = int((units.tagged & ~units.decided(_loosest(units))).sum())
    lowest = _upper(missed, shown)
    allowed = max((k for k in range(shown) if _upper(k, shown) <= miss_rate), default=-1)
    if not shown or missed > allowed:
        raise UnreachableError(lowest if shown else None, shown, missed)
    area, confidence = _best(units, np.ones_like(units.tagged), allowed)
    wrong = _cross_fitted(units, allowed / shown)
    return ClassRule(
        area=area,
        confidence=confidence,
        miss_rate=miss_rate,
        with_class=shown,
        missed=int((wrong & units.tagged).sum()),
        without_class=int((~units.tagged).sum()),
        false_alarms=int((wrong & ~units.tagged).sum()),
    )


def fit_temperature(bytes_right: npt.ArrayLike, bytes_wrong: npt.ArrayLike) -> float | None:
    """Return the temperature that makes confidences the rate of right labels.

    A confidence p becomes ``sigmoid(logit(p) / temperature)`` (Guo et al., "On Calibration of
    Modern Neural Networks", 2017, https://arxiv.org/abs/1706.04599), which minimizes the mean
    logarithm of the probability of what was seen.

    Args:
        bytes_right: how many labels of each confidence 0..255 are right, (256,).
        bytes_wrong: how many are wrong, (256,).

    Returns:
        None if fewer than ten of either are known.
    """
    right, wrong = np.asarray(bytes_right, float), np.asarray(bytes_wrong, float)
    if min(right.sum(), wrong.sum()) < _LEAST_EVENTS:
        return None
    odds = _logit(np.arange(256) / 255)[:, None] / _TEMPERATURES
    losses = right @ np.logaddexp(0, -odds) + wrong @ np.logaddexp(0, odds)
    return round(float(_TEMPERATURES[losses.argmin()]), 4)


def group_pattern(groups: Mapping[str, str]) -> str | None:
    """Return a regular expression whose first group is the group in a photo's id.

    Args:
        groups: group by photo id.

    Returns:
        The first of a few common forms that divides these photos as their groups do: the folder, or
        the name without its last part (``4711003_A``, ``4711003-front``); None: none does.
    """
    for pattern in (r"(.*)/[^/]*", r"(.*)[_\-. ][^_\-. /]*", r"(.*?)[_\-. ][^/]*"):
        matches = {photo: re.fullmatch(pattern, photo) for photo in groups}
        named = {photo: match.group(1) for photo, match in matches.items() if match}
        if len(named) == len(groups) and _same_division(named, groups):
            return pattern
    return None


def _same_division(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    pairs = {(one[photo], other[photo]) for photo in one}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


class _Units:
    """Photos joined to units.

    Attributes:
        tagged: whether each unit shows the class, (u,).
        fold: fold of each unit, (u,).
    """

    def __init__(self, found: FoundClass) -> None:
        names = sorted(set(found.units))
        places = {name: place for place, name in enumerate(names)}
        self._place = np.array([places[unit] for unit in found.units], np.intp)
        self._areas, self._confidences = found.areas, found.confidences
        self._count = len(names)
        self.tagged: Bool = self._any(found.tagged)
        self.fold = np.zeros(self._count, np.intp)
        order = sorted(range(self._count), key=lambda i: hashlib.sha256(names[i].encode()).digest())
        for shows in (True, False):  # units with the class in every fold
            same = [i for i in order if self.tagged[i] == shows]
            self.fold[same] = np.arange(len(same)) % FOLDS

    def decided(self, minima: tuple[float, float]) -> Bool:
        """Return whether each unit is decided to show the class, (u,)."""
        area, confidence = minima
        return self._any((self._areas >= area) & (self._confidences >= confidence))

    def candidates(self, chosen: Bool) -> tuple[list[float], list[float]]:
        """Return areas and confidences to try, between those of the photos of chosen units."""
        used = (self._areas > 0) & chosen[self._place]
        return _spread(self._areas[used]), _spread(self._confidences[used])

    def _any(self, photos: Bool) -> Bool:
        found = np.zeros(self._count, bool)
        found[self._place[photos]] = True
        return found


def _spread(values: Float64) -> list[float]:
    """Return at most `_CANDIDATES` numbers below and between the values, ascending."""
    known = np.unique(values)
    middles = (np.concatenate([[0.0], known[:-1]]) + known) / 2
    places = np.linspace(0, len(known) - 1, min(len(known), _CANDIDATES)).astype(int)
    return [float(f"{value:.6g}") for value in middles[places]]


def _loosest(units: _Units) -> tuple[float, float]:
    areas, confidences = units.candidates(np.ones_like(units.tagged))
    return (areas[0], confidences[0]) if areas else _NEVER


def _best(units: _Units, chosen: Bool, allowed: int) -> tuple[float, float]:
    """Return the minima with the fewest false alarms among those that miss few enough units."""
    areas, confidences = units.candidates(chosen)
    best, least = _NEVER, None
    for area in areas:
        for confidence in confidences:
            decided = units.decided((area, confidence))
            missed = int((chosen & units.tagged & ~decided).sum())
            false_alarms = int((chosen & ~units.tagged & decided).sum())
            rank = (max(missed - allowed, 0), false_alarms, missed)
            if least is None or rank < least:
                best, least = (area, confidence), rank
            if missed > allowed:
                break  # a higher confidence misses more
    return best


def _cross_fitted(units: _Units, share: float) -> Bool:
    """Return which units are decided wrong by minima that were chosen on other folds, (u,)."""
    wrong = np.zeros_like(units.tagged)
    for fold in range(FOLDS):
        held_out = units.fold == fold
        allowed = math.floor(share * int((units.tagged & ~held_out).sum()) + 1e-9)
        decided = units.decided(_best(units, ~held_out, allowed))
        wrong[held_out] = (decided != units.tagged)[held_out]
    return wrong


def _upper(missed: int, units: int) -> float:
    interval = wilson_interval(missed, units)
    return 1.0 if interval is None else interval[1]


def _logit(shares: Float64) -> Float64:
    inside = np.clip(shares, 1 / 512, 511 / 512)
    odds: Float64 = np.log(inside / (1 - inside))
    return odds
