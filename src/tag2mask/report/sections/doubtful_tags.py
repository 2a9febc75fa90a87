"""Section about the given tags that the classifier contradicts, with their photos."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tag2mask.artifacts.handles import PreparedData
from tag2mask.data.index import read_classes, read_mask_paths
from tag2mask.evaluation.records import DoubtfulTag, SplitScores
from tag2mask.evaluation.wording import percent
from tag2mask.report.page import (
    Block,
    Cell,
    Column,
    PageSection,
    PageTable,
    PhotoRow,
)
from tag2mask.report.run_folder import RunFolder
from tag2mask.report.sections.pictures import Overlays, gallery, samples_by_place
from tag2mask.report.sections.scored_runs import ScoredRun

DOUBTS = 50
_KINDS = {
    "missing": "missing: not tagged, but predicted",
    "wrong": "wrong: tagged, but not predicted",
}


def doubt_section(run: RunFolder, scored: ScoredRun, count: int) -> PageSection:
    """Return the doubtful tags of each split, the clearest ones with their photos.

    Args:
        run: the run.
        scored: its scores.
        count: photos shown of each split, at most.
    """
    splits = [s for s in (scored.scores.splits if scored.scores else ()) if s.doubtful_tags]
    blocks: list[Block] = []
    for split in splits:
        blocks += [_table(split), *_photos(run, split, count)]
    return PageSection(
        "doubtful-tags",
        "Doubtful tags",
        tuple(blocks),
        intro="Tags to check first. The heat is of the class in doubt; a class that isn't tagged "
        "has none.",
    )


def _table(split: SplitScores) -> PageTable:
    rows = tuple(
        (Cell(d.photo), d.tag, _KINDS[d.kind], percent(d.probability, 0))
        for d in split.doubtful_tags[:DOUBTS]
    )
    columns = (
        Column("photo", numeric=False),
        Column("class", numeric=False),
        Column("the tag may be", numeric=False),
        Column("probability, %"),
    )
    more = len(split.doubtful_tags) - len(rows)
    rest = f" {more} more are in doubtful_tags.csv." if more > 0 else ""
    return PageTable(
        columns,
        rows,
        unfolded=12,
        caption=f"Tags of split {split.split} to check, the clearest cases first.{rest}",
    )


def _photos(run: RunFolder, split: SplitScores, count: int) -> list[Block]:
    """Return the photos of the clearest doubts, each photo once."""
    prepared = run.handle(PreparedData)
    if prepared is None:
        return []
    samples = samples_by_place(prepared)
    classes = read_classes(prepared.path)
    draw = Overlays([run], classes, read_mask_paths(prepared.path), [{}])
    doubts: dict[str, list[DoubtfulTag]] = {}
    for doubt in split.doubtful_tags:
        if (split.split, doubt.photo) in samples and doubt.tag in classes.names:
            doubts.setdefault(doubt.photo, []).append(doubt)

    def row(photo: str) -> PhotoRow:
        own = doubts[photo]
        tags = [classes.names.index(doubt.tag) for doubt in own]
        return draw.doubt(run, samples[split.split, photo], tags, _text(split, own))

    return gallery((photo, partial(row, photo)) for photo in list(doubts)[:count])


def _text(split: SplitScores, doubts: Sequence[DoubtfulTag]) -> str:
    listed = ", ".join(
        f"{d.tag} {d.kind}? (probability {percent(d.probability, 0)}\N{NO-BREAK SPACE}%)"
        for d in doubts
    )
    return f"{split.split}: {listed}"
