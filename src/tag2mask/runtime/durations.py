"""The wording of durations in progress lines, tables and reports."""

from __future__ import annotations


def format_duration(seconds: float) -> str:
    """Return a duration for people to read: ``4.2 s``, ``3 min 05 s`` or ``2 h 10 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def format_minutes(seconds: float) -> str:
    """Return a duration in full minutes: ``1 min``, ``42 min`` or ``2 h 10 min``."""
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
