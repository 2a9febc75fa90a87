"""The runs on the page and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tag2mask.artifacts.handles import Evaluation, PseudoMaskFolder
from tag2mask.classes import ClassSet
from tag2mask.evaluation.records import (
    NO_TAGS,
    PHOTOS,
    EvaluationScores,
    MaskScores,
    SplitScores,
    read_scores,
)
from tag2mask.evaluation.resampled import ResampledMiou, read_resampled
from tag2mask.evaluation.wording import basis_text, mask_name, measured_text
from tag2mask.report.page import hex_color
from tag2mask.report.run_folder import RunFolder


@dataclass(frozen=True)
class ScoredRun:
    """A run and its scores.

    Attributes:
        label: the run's name on the page.
        color: index of its color in plots.
        scores: None if the run is not evaluated yet.
        resampled: for intervals of differences; empty where there is nothing to compare.
    """

    label: str
    color: int
    scores: EvaluationScores | None
    resampled: ResampledMiou = field(default_factory=dict)

    @property
    def masks_made_by(self) -> str:
        """Who made the masks that were scored, as `tag2mask.artifacts.handles.made_by` says it."""
        given = None if self.scores is None else self.scores.masks_made_by
        return given or PseudoMaskFolder.step

    def split(self, name: str) -> SplitScores | None:
        """Return the scores of one split, None if it has none."""
        splits = self.scores.splits if self.scores is not None else ()
        return next((split for split in splits if split.split == name), None)


def split_names(runs: Sequence[ScoredRun]) -> list[str]:
    """Return the names of the splits that any run was scored on, in their order."""
    found = (s.split for run in runs if run.scores is not None for s in run.scores.splits)
    return list(dict.fromkeys(found))


def class_colors(scores: EvaluationScores) -> list[str]:
    """Return ``#rrggbb`` by mask id (C+1)."""
    return [hex_color(rgb) for rgb in ClassSet(scores.classes[1:]).colors]


MasksOf = Literal["network", "run"]
MASKS_OF: tuple[MasksOf, ...] = ("network", "run")
"""Masks that are scored by class; the network, which is deployed, first."""


def mask_scores_of(run: ScoredRun, split: str, masks_of: MasksOf) -> MaskScores | None:
    """Return a run's mask scores on a split, None if it has none."""
    found = run.split(split)
    if found is None:
        return None
    return found.network if masks_of == "network" else found.masks


def masks_text(run: ScoredRun, split: SplitScores, masks: MaskScores, masks_of: MasksOf) -> str:
    """Return whose masks, and what they were scored on."""
    if masks_of == "network":
        return f"The network: {measured_text(split, masks.photos, NO_TAGS)}"
    return f"The {mask_name(run.masks_made_by, several=True)}: {basis_text(split, masks.photos)}"


def scored_runs(runs: Sequence[RunFolder]) -> list[ScoredRun]:
    """Return runs with their scores, each with the color of its place.

    Raises:
        RunFolderError: a damaged evaluation.
    """
    return [_scored(run, color) for color, run in enumerate(runs)]


def _scored(run: RunFolder, color: int) -> ScoredRun:
    handle = run.handle(Evaluation)
    if handle is None:
        return ScoredRun(run.label, color, None)
    scores = read_scores(handle)
    return ScoredRun(run.label, color, scores, read_resampled(handle.path / PHOTOS, scores))
