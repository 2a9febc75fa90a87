"""The wording of durations."""

from __future__ import annotations

import pytest

from tag2mask.runtime.durations import format_duration, format_minutes


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (4.21, "4.2 s"),
        (185, "3 min 05 s"),
        (59.98, "1 min 00 s"),
        (7800, "2 h 10 min"),
        (3599.7, "1 h 00 min"),
    ],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "1 min"), (2530, "42 min"), (3590, "1 h 00 min"), (7800, "2 h 10 min")],
)
def test_format_minutes(seconds: float, text: str) -> None:
    assert format_minutes(seconds) == text
