"""When a photo is decided to show a class, and how often that is wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassRule:
    """When a photo is decided to show a class; counts are cross-fitted, of photos or groups.

    Attributes:
        area: least share of the photo's pixels.
        confidence: least mean confidence of these pixels.
        miss_rate: target of the choice.
        with_class: how many show the class.
        missed: how many of these are missed.
        without_class: how many don't show it.
        false_alarms: in how many of these it is found.
    """

    area: float
    confidence: float
    miss_rate: float
    with_class: int
    missed: int
    without_class: int
    false_alarms: int
