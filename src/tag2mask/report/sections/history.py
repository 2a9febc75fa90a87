"""Section that compares runs of different weeks on the photos that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tag2mask.artifacts.handles import Evaluation
from tag2mask.errors import counted, first_few
from tag2mask.evaluation.photo_rows import Place
from tag2mask.evaluation.records import PHOTOS, SEGMENTER
from tag2mask.evaluation.resampled import PSEUDO_MASKS, difference_interval
from tag2mask.evaluation.wording import percent
from tag2mask.report.page import Block, Cell, Column, Note, PageSection, PageTable, difference
from tag2mask.report.run_folder import RunFolder
from tag2mask.report.sections.scored_runs import ScoredRun
from tag2mask.report.shared_photos import (
    MIN_AREA,
    Rate,
    SharedScores,
    photo_tags,
    shared_scores,
)

_STAGES = ((PSEUDO_MASKS, "masks, mIoU %"), (SEGMENTER, "network, mIoU %"))

_Tags = Mapping[Place, Sequence[str]]


def history_section(runs: Sequence[RunFolder], scored: Sequence[ScoredRun]) -> PageSection:
    """Compare runs that were evaluated on different photos; empty where the photos are the same.

    Args:
        runs: the runs, the newest first.
        scored: the same with their scores.
    """
    title, anchor = "History", "history"
    evaluations = [run.handle(Evaluation) for run in runs]
    paths = [found.path / PHOTOS for found in evaluations if found is not None]
    tags = [photo_tags(path) for path in paths]
    if len(paths) < len(runs) or all(own.keys() == tags[0].keys() for own in tags):
        return PageSection(anchor, title, ())
    main = tags[0]
    common = {place: main[place] for place in main if all(place in own for own in tags)}
    new = {place: main[place] for place in main if not any(place in own for own in tags[1:])}
    names = [run.scores.classes[1:] if run.scores is not None else () for run in scored]
    shared = [name for name in names[0] if all(name in own for own in names)]
    other = dict.fromkeys(name for own in names for name in own if name not in shared)

    def scores(index: int, photos: _Tags) -> dict[str, SharedScores]:
        area = _min_area(scored[index])
        return shared_scores(paths[index], photos, names[index], shared, min_area=area)

    all_scores = [scores(index, common) for index in range(len(runs))]
    blocks: list[Block] = [Note(_photo_counts(runs, common, new, tags))]
    if other:
        blocks.append(
            Note(f"Classes that not all of the runs have are left out: {first_few(other)}.")
        )
    if common and shared:
        blocks.append(_table([run.label for run in runs], all_scores, scores(0, new)))
    return PageSection(
        anchor,
        title,
        tuple(blocks),
        intro="The runs were evaluated on different photos, so their scores elsewhere on this page "
        "can't be compared. Here they are scored on the photos and classes that all of them have, "
        f"against the tags of {runs[0].label}.",
    )


def _min_area(run: ScoredRun) -> float:
    splits = run.scores.splits if run.scores is not None else ()
    return next((split.rates.min_area for split in splits if split.rates is not None), MIN_AREA)


def _photo_counts(
    runs: Sequence[RunFolder], common: _Tags, new: _Tags, tags: Sequence[_Tags]
) -> str:
    gone = len({place for own in tags[1:] for place in own} - tags[0].keys())
    text = f"{counted(len(common), 'photo is', 'photos are')} in all runs, "
    text += f"{len(new):,} only in {runs[0].label}"
    return text + (f"; {gone:,} of other runs are not in {runs[0].label}." if gone else ".")


def _table(
    labels: Sequence[str], common: Sequence[dict[str, SharedScores]], new: dict[str, SharedScores]
) -> PageTable:
    """Return a row per split and run of the photos of all runs, and one of the new photos."""
    every = [found for split in (*common, new) for found in split.values()]
    stages = [stage for stage in _STAGES if any(stage[0] in found.miou for found in every)]
    rows: list[tuple[str | Cell, ...]] = []
    for split, main in common[0].items():
        for label, own in zip(labels, common, strict=True):
            found = own[split]
            row = ("of all runs", split, label, f"{found.photos:,}", *_rates(found))
            rows.append((*row, *_miou(split, main, found, [name for name, _ in stages])))
        if split in new:
            row = ("only here", split, labels[0], f"{new[split].photos:,}", *_rates(new[split]))
            rows.append((*row, *_miou(split, None, new[split], [name for name, _ in stages])))
    columns = (
        Column("photos", numeric=False),
        Column("split", numeric=False),
        Column("run", numeric=False),
        Column("number"),
        Column("missed tags, %"),
        Column("false alarms, %"),
        *(column for _, title in stages for column in (Column(title), Column("lead"))),
    )
    return PageTable(
        columns,
        tuple(rows),
        caption="Missed: tags whose class the network's mask doesn't show; false alarms: classes "
        f"that it shows without a tag. Lead: the score of {labels[0]} minus that of the run, in "
        "percentage points; in brackets its 95 % interval, gray where that contains 0. Where the "
        "new photos have more misses or false alarms than those of all runs, train on.",
    )


def _rates(found: SharedScores) -> tuple[str | Cell, str | Cell]:
    return _rate(found.missed), _rate(found.alarms)


def _rate(rate: Rate) -> str | Cell:
    if not rate.photos:
        return Cell("–", tone="muted")
    return Cell(percent(rate.hits / rate.photos), title=f"{rate.hits:,} of {rate.photos:,}")


def _miou(
    split: str, main: SharedScores | None, found: SharedScores, stages: Sequence[str]
) -> list[str | Cell]:
    """Return mIoU and lead by stage; without ``main``, no lead."""
    cells: list[str | Cell] = []
    for stage in stages:
        cells.append(percent(found.miou.get(stage)))
        if main is None or main is found:
            cells.append("")
        else:
            interval = difference_interval(main.resampled, found.resampled, split, stage)
            cells.append(difference(main.miou.get(stage), found.miou.get(stage), interval))
    return cells
