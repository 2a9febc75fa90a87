"""Messages on the standard error, and the lines that a finished step or run prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tag2mask.artifacts.handles import WITHOUT_SURE_PIXELS, AffinityModel, Handle
from tag2mask.artifacts.manifest import MANIFEST
from tag2mask.errors import first_few

if TYPE_CHECKING:
    from tag2mask.pipeline.run import RunResult


_SHOWN_SKIPPED = 10
_SHOWN_WARNINGS = 5


def print_message(message: str) -> None:
    """Print a message to the standard error."""
    print(message, file=sys.stderr, flush=True)


def show_handle(handle: Handle, *, width: int = 0) -> None:
    """Print the folder of a finished step, its counts and its warnings.

    Args:
        handle: the finished step.
        width: columns of the step's name, to align several.
    """
    page = handle.path / "index.html"
    counts = ", ".join(f"{count} {name}" for name, count in handle.manifest.counts.items())
    print(
        f"{handle.step:>{width}}: {page if page.is_file() else handle.path}"
        + (f" ({counts})" if counts else "")
    )
    warnings = handle.manifest.metrics.get("warnings", ())  # of the data
    for message in warnings[:_SHOWN_WARNINGS]:
        print_message(f"warning: {message}")
    if len(warnings) > _SHOWN_WARNINGS:
        print_message(f"{len(warnings) - _SHOWN_WARNINGS} more warnings: {handle.path / MANIFEST}")
    if handle.step == AffinityModel.step and (
        unsure := handle.manifest.metrics.get(WITHOUT_SURE_PIXELS)
    ):
        print_message(
            f"not used to train AffinityNet, without a sure pixel: "
            f"{first_few(unsure, _SHOWN_SKIPPED)} (listed in manifest.json)"
        )


def show_run(result: RunResult) -> None:
    """Print the folder of every step of a run."""
    width = max(len(name) for name in result.handles)
    for handle in result.handles.values():
        show_handle(handle, width=width)


def show_skipped(skipped: Sequence[str]) -> None:
    """Print the first skipped photos and how many more there are."""
    for line in skipped[:_SHOWN_SKIPPED]:
        print_message(f"left out: {line}")
    if len(skipped) > _SHOWN_SKIPPED:
        print_message(f"left out: {len(skipped) - _SHOWN_SKIPPED} more, listed in manifest.json")
