"""Section with many small photos of each class, and its masks over them."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from tag2mask.artifacts.handles import Evaluation, Predictions, PreparedData, PseudoMaskFolder
from tag2mask.data.images import read_image
from tag2mask.data.index import Sample, read_classes
from tag2mask.data.masks import mask_path, read_mask
from tag2mask.errors import DataError
from tag2mask.evaluation.evidence import NETWORK_QUALITY, QUALITY
from tag2mask.evaluation.photo_rows import Place, Row, place_of, quality_of, read_photo_rows
from tag2mask.evaluation.records import PHOTOS, EvaluationScores
from tag2mask.evaluation.wording import mask_name
from tag2mask.report.overlays import fitted, mask_overlay
from tag2mask.report.page import (
    Block,
    Gallery,
    Note,
    PageSection,
    PhotoRow,
    Picture,
    picture,
)
from tag2mask.report.run_folder import RunFolder
from tag2mask.report.sections.pictures import samples_by_place
from tag2mask.report.sections.scored_runs import ScoredRun

SHEETS, TILES = 24, 12
"""Classes shown, and photos of each, at most."""
TILE_SIDE = 256
"""Long side of a photo, px."""


class _Tile(NamedTuple):
    """A photo of a sheet."""

    quality: float
    split: str
    id: str


def sheet_section(run: RunFolder, scored: ScoredRun) -> PageSection:
    """Return a contact sheet of each class: photos drawn by chance, with the deployed masks."""
    evaluation, scores = run.handle(Evaluation), scored.scores
    prepared = run.handle(PreparedData)
    made = run.handle(Predictions) or run.handle(PseudoMaskFolder)
    blocks: list[Block] = []
    if evaluation and scores is not None and prepared and made:
        names = _shown_classes(scores)
        key = NETWORK_QUALITY if isinstance(made, Predictions) else QUALITY
        tiles = _drawn(run, names, scores.splits[-1].split, key)
        samples = samples_by_place(prepared)
        classes = read_classes(prepared.path)
        rows = []
        for name in (name for name in names if tiles.get(name)):
            pictures = _pictures(made, tiles[name], samples, classes.colors, len(classes))
            if pictures:
                rows.append(PhotoRow(name, "", (), tuple(pictures)))
        blocks = [Gallery("", tuple(rows))] if rows else []
        left_out = len(scores.classes) - 1 - len(names)
        if left_out:
            blocks.append(
                Note(
                    f"The classes with the lowest IoU or average precision; {left_out:,} others "
                    "are left out. pseudo_masks.overlays and predict.overlays write all photos "
                    "with their masks."
                )
            )
    own = mask_name(run.masks_made_by, several=True)
    what = "network's masks" if run.handle(Predictions) else own
    return PageSection(
        "contact-sheets",
        "Contact sheets",
        tuple(blocks),
        intro=f"Up to {TILES} photos of each class with the {what}, chosen by chance, the "
        "lowest quality score first. Where there are validation photos, they are drawn first.",
    )


def _shown_classes(scores: EvaluationScores) -> list[str]:
    """Return the classes in their order; of many, those with the lowest scores."""
    names = list(scores.classes[1:])
    if len(names) <= SHEETS:
        return names
    last = scores.splits[-1]
    known: dict[str, float] = {}
    if last.tags is not None:
        known |= {c.name: c.average_precision or 0.0 for c in last.tags.classes}
    masks = last.network or last.masks
    if masks is not None:
        known |= {c.name: c.iou for c in masks.classes if c.iou is not None}
    worst = set(heapq.nsmallest(SHEETS, names, key=lambda name: known.get(name, 1.0)))
    return [name for name in names if name in worst][:SHEETS]


def _drawn(run: RunFolder, names: Sequence[str], first: str, key: str) -> dict[str, list[_Tile]]:
    """Return up to `TILES` photos of each class, those of split ``first`` before others.

    They are sorted by the quality score ``key``.
    """
    evaluation = run.handle(Evaluation)
    assert evaluation is not None
    wanted = set(names)
    drawn: dict[str, list[tuple[bool, int, _Tile]]] = {}
    for tags, split, tile in read_photo_rows(evaluation.path / PHOTOS, partial(_tile, key)):
        # The photos with the largest keys are kept: a draw in bounded memory, always the same.
        number = int.from_bytes(hashlib.sha256(tile.id.encode()).digest()[:8])
        for name in wanted.intersection(tags):
            kept = drawn.setdefault(name, [])
            entry = (split == first, number, tile)
            if len(kept) < TILES:
                heapq.heappush(kept, entry)
            else:
                heapq.heappushpop(kept, entry)
    return {name: sorted(tile for _, _, tile in kept) for name, kept in drawn.items()}


def _tile(key: str, row: Row) -> tuple[list[str], str, _Tile]:
    quality = quality_of(row, key)
    tile = _Tile(1.0 if quality is None else quality, *place_of(row))
    return [str(tag) for tag in row["tags"]], tile.split, tile


def _pictures(
    made: Predictions | PseudoMaskFolder,
    tiles: Sequence[_Tile],
    samples: Mapping[Place, Sample],
    colors: Sequence[tuple[int, int, int]],
    classes: int,
) -> list[Picture]:
    """Return the photos with their masks, without those that can't be read."""
    found = []
    for tile in tiles:
        sample = samples.get((tile.split, tile.id))
        path = mask_path(made.path, tile.id)
        if sample is None or not path.is_file():
            continue
        try:
            photo = fitted(read_image(sample.image, at_least=TILE_SIDE), TILE_SIDE)
            shown = mask_overlay(photo, read_mask(path, classes), colors)
        except DataError:
            continue  # named where photos are shown one by one, and by its step
        found.append(picture(f"{tile.split}: {tile.id}", shown))
    return found
