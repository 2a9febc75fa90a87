"""Sections that compare runs: settings, scores, and the photos that changed most."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tag2mask.artifacts.handles import Evaluation, PreparedData, PseudoMaskFolder
from tag2mask.artifacts.section_values import flat_values
from tag2mask.classes import ClassSet
from tag2mask.data.index import Sample, read_classes, read_mask_paths
from tag2mask.data.masks import mask_path, read_mask
from tag2mask.errors import DataError
from tag2mask.evaluation.photo_rows import Place
from tag2mask.evaluation.records import PHOTOS, SEGMENTER, SplitScores
from tag2mask.evaluation.resampled import PSEUDO_MASKS, difference_interval
from tag2mask.evaluation.wording import (
    basis_text,
    mask_name,
    percent,
    percent_with_interval,
    with_unit,
)
from tag2mask.metrics.bootstrap import Interval
from tag2mask.report.page import (
    Block,
    Cell,
    Column,
    Note,
    PageSection,
    PageTable,
    PhotoRow,
    difference,
)
from tag2mask.report.photo_choice import PhotoScore, every_photo_miou
from tag2mask.report.run_folder import RunFolder
from tag2mask.report.sections.history import history_section
from tag2mask.report.sections.pictures import Overlays, gallery, samples_by_place
from tag2mask.report.sections.scored_runs import ScoredRun, split_names
from tag2mask.runtime.threads import ordered_map
from tag2mask.text.yaml_text import parse_yaml

COMPARED_MASKS = 1000
"""Pairs of pseudo masks that are read, at most, where no photo has ground truth."""
_NAMES = ("name", "description")


def comparison_sections(
    runs: Sequence[RunFolder], scored: Sequence[ScoredRun], count: int
) -> tuple[PageSection, ...]:
    """Return the sections that compare the first run with the others; none for a single run.

    Args:
        runs: the runs.
        scored: the same with their scores.
        count: number of photos to show.
    """
    if len(runs) < 2:
        return ()
    return (
        PageSection(
            "settings-that-differ",
            "Settings that differ",
            tuple(_settings(runs)),
            intro="Of the runs' recipes; a dash: the run's recipe doesn't have the key.",
        ),
        PageSection("compared-scores", "Compared scores", tuple(_scores(scored))),
        history_section(runs, scored),
        _changed_photos(runs, count),
    )


def differing_settings(recipes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the settings that differ between recipes: their values as text, by dotted key.

    Args:
        recipes: YAML; one that can't be read has no settings.
    """
    flat = [_flat(text) for text in recipes]
    keys = dict.fromkeys(key for values in flat for key in values if key not in _NAMES)
    rows = {key: tuple(values.get(key, "–") for values in flat) for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def _flat(text: str) -> dict[str, str]:
    try:
        values = parse_yaml(text)
    except ValueError:
        return {}
    found: Mapping[str, Any] = flat_values(values) if isinstance(values, dict) else {}
    return {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in found.items()
    }


def _settings(runs: Sequence[RunFolder]) -> list[Block]:
    rows = differing_settings([run.recipe for run in runs])
    if not rows:
        return [Note("The recipes have the same settings.")]
    columns = (
        Column("setting", numeric=False),
        *(Column(run.label, numeric=False) for run in runs),
    )
    return [PageTable(columns, tuple((key, *values) for key, values in rows.items()))]


def _scores(runs: Sequence[ScoredRun]) -> list[Block]:
    """Return a table of mIoU and differences; a note without two runs with masks."""
    main = runs[0]
    shows_network = any(_network(run.split(name)) for run in runs for name in split_names(runs))
    rows: list[tuple[str | Cell, ...]] = []
    for name in split_names(runs):
        ours = main.split(name)
        if ours is None or ours.masks is None:
            continue
        for run in runs:
            split = run.split(name)
            if split is not None and split.masks is not None:
                rows.append(_score_row(main, run, name, ours, split, shows_network))
    if len({row[0] for row in rows}) < 2:
        return [Note("No two of these runs were scored on masks of the same split.")]
    network = (Column("network, mIoU %"), Column("lead")) if shows_network else ()
    columns = (
        Column("run", numeric=False),
        Column("split", numeric=False),
        Column("masks, mIoU %"),
        Column("lead"),
        Column("maps at best threshold, %"),
        Column("lead"),
        *network,
        Column("measured on", numeric=False, wide=True),
    )
    return [
        PageTable(
            columns,
            tuple(rows),
            caption=f"Lead: the score of {main.label} minus that of the run, in percentage points; "
            "in brackets its 95 % interval, gray where that contains 0.",
        )
    ]


def _score_row(
    main: ScoredRun,
    run: ScoredRun,
    name: str,
    ours: SplitScores,
    split: SplitScores,
    shows_network: bool,
) -> tuple[str | Cell, ...]:
    assert ours.masks is not None and split.masks is not None

    def lead(own: float | None, its: float | None, stage: str | None) -> str | Cell:
        if run is main:
            return ""
        interval: Interval | None = None
        if stage is not None:
            interval = difference_interval(main.resampled, run.resampled, name, stage)
        return difference(own, its, interval)

    network: tuple[str | Cell, ...] = ()
    if shows_network:
        own, its = _network(ours), _network(split)
        network = (
            percent_with_interval(*(its or (None, None))),
            lead(own[0] if own else None, its[0] if its else None, SEGMENTER),
        )
    return (
        run.label,
        name,
        percent_with_interval(split.masks.miou, split.masks.miou_interval),
        lead(ours.masks.miou, split.masks.miou, PSEUDO_MASKS),
        percent(_best(split)),
        lead(_best(ours), _best(split), None),
        *network,
        Cell(basis_text(split, split.masks.photos), tone="muted"),
    )


def _best(split: SplitScores) -> float | None:
    return split.curve.best_miou if split.curve is not None else None


def _network(split: SplitScores | None) -> tuple[float | None, Interval | None] | None:
    """Return the mIoU of the segmentation network's masks and its interval, if there is one."""
    stages = () if split is None else split.stages
    used = next((stage.used for stage in stages if stage.name == SEGMENTER), None)
    return None if used is None else (used.miou, used.miou_interval)


def _changed_photos(runs: Sequence[RunFolder], count: int) -> PageSection:
    """Return the photos of the first run whose masks differ most from those of another run."""
    title, anchor = "Photos that changed most", "changed-photos"
    prepared = runs[0].handle(PreparedData)
    if prepared is None:
        return PageSection(anchor, title, ())
    samples = samples_by_place(prepared)
    classes = read_classes(prepared.path)
    mious = [_mious(run) for run in runs]
    changes = _by_miou(mious)
    kinds = {mask_name(run.masks_made_by, several=True) for run in runs}
    what = kinds.pop() if len(kinds) == 1 else "masks"
    basis = f"by the mIoU of their {what}"
    if not changes:
        changes = _by_masks(runs, samples, classes)
        basis = f"by the share of pixels in which the runs' {what} differ"
    chosen = sorted(changes, key=lambda place: (-changes[place], place))[:count]
    draw = Overlays(runs, classes, read_mask_paths(prepared.path), mious)

    def row(place: Place) -> PhotoRow:
        split, photo = place
        found = PhotoScore(photo, split, mious[0].get(place), None, None, None, {}, True)
        text = f"{split}, differs by {with_unit(changes[place])}"
        return replace(draw.row(samples[place], found), detail=text)

    changed = (place for place in chosen if place in samples and changes[place] > 0)
    blocks = gallery((place[1], partial(row, place)) for place in changed)
    blocks = blocks or [Note("No photo changed.")]
    return PageSection(anchor, title, tuple(blocks), intro=f"Of those in all runs, {basis}.")


def _mious(run: RunFolder) -> dict[Place, float]:
    evaluation = run.handle(Evaluation)
    return {} if evaluation is None else every_photo_miou(evaluation.path / PHOTOS)


def _by_miou(mious: Sequence[Mapping[Place, float]]) -> dict[Place, float]:
    """Return the largest difference of each photo's mIoU to another run."""
    main, *others = mious
    common = [place for place in main if all(place in other for other in others)]
    return {place: max(abs(main[place] - other[place]) for other in others) for place in common}


def _by_masks(
    runs: Sequence[RunFolder], samples: Mapping[Place, Sample], classes: ClassSet
) -> dict[Place, float]:
    """Return the largest share of pixels in which a photo's pseudo mask differs from another's."""
    masks = [run.handle(PseudoMaskFolder) for run in runs]
    folders = [handle.path for handle in masks if handle is not None]
    if len(folders) < len(runs):
        return {}
    places = [
        place
        for place in samples
        if all(mask_path(folder, place[1]).is_file() for folder in folders)
    ]
    places = places[:: max(1, -(-len(places) // COMPARED_MASKS))]

    def difference_of(place: Place) -> float:
        paths = [mask_path(folder, place[1]) for folder in folders]
        try:
            main, *others = (read_mask(path, len(classes)) for path in paths)
        except DataError:
            return 0.0  # other classes, or damaged: its own step reports it
        same = [other for other in others if other.shape == main.shape]
        return max((float(np.mean(main != other)) for other in same), default=0.0)

    return dict(zip(places, ordered_map(difference_of, places), strict=True))
