"""Messages on the standard error, and the lines that a finished step or run prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.artifacts.deletion import recorded_seconds
from tag2mask.artifacts.handles import (
    UNDERSTOOD,
    WITHOUT_SURE_PIXELS,
    WITHOUT_TAGGED_PIXELS,
    AffinityModel,
    Handle,
    SegmenterModel,
)
from tag2mask.artifacts.manifest import MANIFEST
from tag2mask.errors import first_few
from tag2mask.runtime.durations import format_minutes
from tag2mask.text.escaping import visible

if TYPE_CHECKING:
    from tag2mask.pipeline.run import RunResult


_SHOWN_SECONDS = 60
"""Time of a step from which on its deletion names it."""
_SHOWN_SKIPPED = 10
_SHOWN_WARNINGS = 5
_NOT_LEARNED = (
    (AffinityModel.step, WITHOUT_SURE_PIXELS, "AffinityNet, without a sure pixel"),
    (
        SegmenterModel.step,
        WITHOUT_TAGGED_PIXELS,
        "the segmentation network, with masks that show none of their tags",
    ),
)
"""Training steps, the manifest's key of photos that they leave out, and how these are described."""


def print_message(message: str, *, lines: bool = True) -> None:
    """Print a message to the standard error, as text that changes nothing on a terminal.

    Args:
        message: the text.
        lines: its line ends are kept; False: it is one line.
    """
    print(visible(message, lines=lines), file=sys.stderr, flush=True)


def print_text(text: str, *, lines: bool = True) -> None:
    """Print a text to the standard output; see `print_message`."""
    print(visible(text, lines=lines), flush=True)


def show_understood(lines: Sequence[str]) -> None:
    """Print what was understood of the data or of the photos; what follows may take hours."""
    for line in lines:
        print_text(line, lines=False)


def show_handle(handle: Handle, *, width: int = 0) -> None:
    """Print the folder of a finished step and its counts.

    Args:
        handle: the finished step.
        width: columns of the step's name, to align several.
    """
    page = handle.path / "index.html"
    counts = ", ".join(f"{count} {name}" for name, count in handle.manifest.counts.items())
    folder = page if page.is_file() else handle.path
    line = f"{handle.step:>{width}}: {folder}" + (f" ({counts})" if counts else "")
    print_text(line, lines=False)


def show_findings(handle: Handle) -> None:
    """Print what a finished step understood, its warnings, and the photos it didn't train on."""
    show_understood(handle.manifest.metrics.get(UNDERSTOOD, ()))
    show_warnings(handle)


def show_warnings(handle: Handle) -> None:
    """Print the warnings of a finished step, and the photos that it didn't train on."""
    metrics = handle.manifest.metrics
    warnings = metrics.get("warnings", ())
    for message in warnings[:_SHOWN_WARNINGS]:
        print_message(f"warning: {message}", lines=False)
    if len(warnings) > _SHOWN_WARNINGS:
        print_message(f"{len(warnings) - _SHOWN_WARNINGS} more warnings: {handle.path / MANIFEST}")
    for step, key, what in _NOT_LEARNED:
        if handle.step == step and (photos := metrics.get(key)):
            print_message(
                f"not used to train {what}: {first_few(photos, _SHOWN_SKIPPED)} "
                "(listed in manifest.json)",
                lines=False,
            )


def deleted_text(folders: Sequence[tuple[type[Handle], Path]]) -> str:
    """Return a line that names the steps a deletion removes; an empty one if there are none."""
    seconds = recorded_seconds(folders)
    names = [
        step if taken < _SHOWN_SECONDS else f"{step} ({format_minutes(taken)})"
        for step, taken in seconds.items()
    ]
    return f"deletes {', '.join(names)}" if names else ""


def show_run(result: RunResult) -> None:
    """Print the folder of every step of a run."""
    width = max(len(name) for name in result.handles)
    for handle in result.handles.values():
        show_handle(handle, width=width)


def show_left_out(line: str) -> None:
    """Print a skipped photo and the reason."""
    print_message(f"left out: {line}", lines=False)


def show_skipped(skipped: Sequence[str]) -> None:
    """Print the first skipped photos and how many more there are."""
    for line in skipped[:_SHOWN_SKIPPED]:
        show_left_out(line)
    if len(skipped) > _SHOWN_SKIPPED:
        print_message(f"left out: {len(skipped) - _SHOWN_SKIPPED} more, listed in manifest.json")
