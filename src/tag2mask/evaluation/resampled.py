"""Resampled scores of a finished evaluation, for intervals of differences between runs.

They are computed from the photos' counts in ``photos.jsonl``, so no mask is read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tag2mask.evaluation.photo_rows import read_photo_rows, stage_counts
from tag2mask.evaluation.records import EvaluationScores
from tag2mask.metrics.bootstrap import Interval, ResampledTallies, percentile_interval
from tag2mask.metrics.confusion import Float64

PSEUDO_MASKS = "pseudo masks"
"""Key of the pseudo masks' counts among those of the stages."""
ResampledMiou = Mapping[tuple[str, str], Float64]
"""mIoU in each resample, by split and stage (or `PSEUDO_MASKS`)."""


def read_resampled(path: Path, scores: EvaluationScores) -> ResampledMiou:
    """Return the resampled mIoU of each split and stage.

    Args:
        path: the ``photos.jsonl`` of an evaluation; empty results if an earlier version wrote it.
        scores: the scores of the same evaluation.

    Raises:
        RunFolderError: missing or damaged.
    """
    classes = len(scores.classes) - 1
    tallies: dict[tuple[str, str], ResampledTallies] = {}
    rows = read_photo_rows(path, lambda row: (str(row["split"]), stage_counts(row, classes)))
    for split, counts in rows:
        for stage, group, cells in counts:
            tallies.setdefault((split, stage), ResampledTallies(classes)).add(group, cells)
    published = scores.behavior == "published"
    return {place: own.miou(published=published) for place, own in tallies.items()}


def difference_interval(
    one: ResampledMiou, other: ResampledMiou, split: str, stage: str, other_stage: str | None = None
) -> Interval | None:
    """Return the 95 % interval of ``one`` minus ``other``; None if either has no counts.

    Photos that both runs were scored on have the same weights in both.

    Args:
        one: of a run.
        other: of another run, or of the same.
        split: a split.
        stage: a stage of ``one``.
        other_stage: the stage of ``other``; None: the same.
    """
    values = one.get((split, stage)), other.get((split, other_stage or stage))
    if values[0] is None or values[1] is None:
        return None
    return percentile_interval(values[0] - values[1])
