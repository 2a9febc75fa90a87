"""The wording of durations."""

from __future__ import annotations

import pytest

from tag2mask.runtime.durations import format_duration


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
