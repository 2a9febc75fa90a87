"""Section about the area that each class covers in a photo."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np

from tag2mask.artifacts.handles import Evaluation
from tag2mask.evaluation.photo_rows import read_photo_rows
from tag2mask.evaluation.records import PHOTOS
from tag2mask.evaluation.resampled import PSEUDO_MASKS
from tag2mask.evaluation.wording import mask_name, percent
from tag2mask.report.page import Block, Cell, Column, PageSection, PageTable
from tag2mask.report.run_folder import RunFolder
from tag2mask.report.sections.scored_runs import ScoredRun, class_colors

_KINDS = ("network", "pseudo", "truth")
_DECILES = (10, 50, 90)

Areas = dict[str, dict[str, "array[float]"]]
"""Shares of the photos with a class's tag, by kind and class."""


def area_section(run: RunFolder, scored: ScoredRun) -> PageSection:
    """Return the area of each class in the photos with its tag, by split."""
    evaluation, scores = run.handle(Evaluation), scored.scores
    blocks: list[Block] = []
    if evaluation is not None and scores is not None:
        found: dict[str, Areas] = {}
        names = scores.classes
        for split, kinds in read_photo_rows(
            evaluation.path / PHOTOS, lambda row: (str(row["split"]), _areas(row, names))
        ):
            _add(found.setdefault(split, {}), kinds)
        colors = dict(zip(scores.classes, class_colors(scores), strict=True))
        titles = {
            "network": "network",
            "pseudo": mask_name(run.masks_made_by, several=True),
            "truth": "ground truth",
        }
        blocks = [_table(split, areas, colors, titles) for split, areas in found.items() if areas]
    return PageSection(
        "areas",
        "Area of each class",
        tuple(blocks),
        intro="How much of a photo each class covers, of the photos with its tag: the median, and "
        "in brackets the range of 80 % of them. Where masks are much larger than the ground truth "
        "or than each other, look at the photos of the class.",
    )


def _areas(row: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Return the share of the photo of each of its tags, by kind."""
    kinds: dict[str, Mapping[str, float] | None] = {
        "network": row.get("areas"),
        "pseudo": row.get("pseudo_areas"),
        "truth": _true_areas(row, names),
    }
    return {
        kind: {tag: float(areas.get(tag, 0.0)) for tag in row["tags"]}
        for kind, areas in kinds.items()
        if areas is not None
    }


def _true_areas(row: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, float] | None:
    """Return the share of each class in a photo's ground truth; None without one."""
    cells = row.get("counts", {}).get(PSEUDO_MASKS)
    if not cells:
        return None
    total = sum(pixels for _, _, pixels in cells)
    found: dict[str, float] = {}
    for true, _, pixels in cells:
        found[names[true]] = found.get(names[true], 0.0) + pixels / total
    return found


def _add(areas: Areas, kinds: Mapping[str, Mapping[str, float]]) -> None:
    for kind, own in kinds.items():
        for tag, share in own.items():
            areas.setdefault(kind, {}).setdefault(tag, array("f")).append(share)


def _table(
    split: str, areas: Areas, colors: Mapping[str, str], titles: Mapping[str, str]
) -> PageTable:
    kinds = [kind for kind in _KINDS if kind in areas]
    names = [name for name in colors if any(name in areas[kind] for kind in kinds)]
    columns = [Column("class", numeric=False), Column("photos")]
    columns += [Column(f"{titles[kind]}, % of the photo", wide=True) for kind in kinds]
    rows: list[tuple[str | Cell, ...]] = []
    for name in names:
        own = [areas[kind].get(name) for kind in kinds]
        photos = max(len(shares) for shares in own if shares is not None)
        rows.append((Cell(name, swatch=colors[name]), f"{photos:,}", *map(_cell, own)))
    masked = max((len(shares) for shares in areas.get("truth", {}).values()), default=0)
    note = ". Ground truth: of the photos that have a mask" if masked else ""
    return PageTable(tuple(columns), tuple(rows), caption=f"Split {split}{note}.")


def _cell(shares: array[float] | None) -> Cell:
    if shares is None:
        return Cell("–", tone="muted")
    low, middle, high = np.percentile(np.asarray(shares), _DECILES).tolist()
    return Cell(f"{percent(middle)} ({percent(low, 0)}\N{EN DASH}{percent(high, 0)})", bar=middle)
