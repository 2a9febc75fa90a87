"""Scores as text, the same in tables, pages and model cards."""

from __future__ import annotations

from tag2mask.evaluation.records import NO_THRESHOLD, SplitScores
from tag2mask.metrics.bootstrap import Interval

_SHOWN_CLASSES = 5


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share in [0, 1] as percent without the sign; a dash if it is None."""
    return "–" if share is None else f"{100.0 * share:.{digits}f}"


def with_unit(share: float | None) -> str:
    """Return a share in [0, 1] as percent, its sign joined by a no-break space."""
    return "–" if share is None else f"{percent(share)}\N{NO-BREAK SPACE}%"


def interval_text(interval: Interval | None, digits: int = 1) -> str:
    """Return a 95 % interval in percent, such as ``65.1–71.9``; empty if it is None."""
    if interval is None:
        return ""
    return "\N{EN DASH}".join(percent(end, digits) for end in interval)


def percent_with_interval(share: float | None, interval: Interval | None, digits: int = 1) -> str:
    """Return a share in percent with its 95 % interval, such as ``68.6 (65.1–71.9)``."""
    text, ends = percent(share, digits), interval_text(interval, digits)
    return f"{text} ({ends})" if ends else text


def rate_text(hits: int, photos: int, interval: Interval | None, digits: int = 0) -> str:
    """Return a rate in percent with its 95 % interval; a dash without photos."""
    return percent_with_interval(hits / photos if photos else None, interval, digits)


def given_masks_text(made_by: str) -> str:
    """Return what given masks are, by who made them; see `EvaluationScores.masks_made_by`."""
    kind, _, name = made_by.partition(":")
    if kind == "model":
        return f"masks made by another model, {name}, and not checked by hand"
    if kind == "drawn":
        return "masks drawn or checked by people"
    return "pseudo masks of another run, not checked by hand"


def mask_name(made_by: str, *, several: bool = False) -> str:
    """Return what masks of photos are called, by who made them.

    Args:
        made_by: as `tag2mask.artifacts.handles.made_by` returns it.
        several: in the plural.

    >>> mask_name("pseudo-masks"), mask_name("drawn"), mask_name("model:SAM 3", several=True)
    ('pseudo mask', 'drawn mask', 'masks of SAM 3')
    """
    mask = "masks" if several else "mask"
    kind, _, name = made_by.partition(":")
    if kind == "model":
        return f"{mask} of {name}"
    return f"drawn {mask}" if kind == "drawn" else f"pseudo {mask}"


def photos_text(split: SplitScores, photos: int) -> str:
    """Return split, number of photos scored and left out, and tag source."""
    return measured_text(split, photos, split.tag_source)


def measured_text(split: SplitScores, photos: int, tag_source: str) -> str:
    """Return the text of `photos_text` for another tag source."""
    plural = "" if photos == 1 else "s"
    left_out = f" ({split.left_out:,} left out)" if split.left_out else ""
    return f"{split.split}, {photos:,} photo{plural}{left_out}, {tag_source} tags"


def basis_text(split: SplitScores, photos: int) -> str:
    """Return split, photos, tag source, background thresholds in use and their source."""
    text = photos_text(split, photos)
    return f"{text}, background threshold {thresholds_text(split)}"


def thresholds_text(split: SplitScores) -> str:
    """Return the background thresholds of the pseudo masks and their source."""
    common = threshold_text(split.background_threshold, split.background_source)
    own = [f"{name} {value:.3g}" for name, value in split.class_thresholds.items()]
    more = [f"{len(own) - _SHOWN_CLASSES} more classes"] if len(own) > _SHOWN_CLASSES else []
    listed = ", ".join([*own[:_SHOWN_CLASSES], *more])
    return f"{common}, but {listed}" if listed else common


def threshold_text(threshold: float | None, source: str) -> str:
    """Return a background threshold and its source."""
    if source == NO_THRESHOLD:
        return source
    if threshold is None:
        return "unknown (unknown)" if source == "unknown" else f"none ({source})"
    return f"{threshold:.3g} ({source})"
