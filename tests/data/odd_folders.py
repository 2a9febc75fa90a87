"""Folders in folders without end, for tests of walks over them."""

from __future__ import annotations

from pathlib import Path


def nested(root: Path, levels: int) -> Path:
    """Return the innermost of folders in each other, below ``root``."""
    inner = root.joinpath(*["d"] * levels)
    inner.mkdir(parents=True)
    return inner


def linked(root: Path, levels: int) -> Path:
    """Return the first of folders with two links each to the next; the last one is ``last``."""
    for level in range(levels):
        (root / f"{level}").mkdir(parents=True)
        for name in "xy":
            target = "last" if level == levels - 1 else f"{level + 1}"
            (root / f"{level}" / name).symlink_to(f"../{target}")
    (root / "last").mkdir()
    return root / "0"
