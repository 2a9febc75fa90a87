"""The scores of a finished run as a row of ``rows.jsonl``: in percent, two decimals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tag2mask.ablation.resampled import trial_resampled
from tag2mask.ablation.scores import Resampled
from tag2mask.artifacts.handles import Evaluation, PreparedData
from tag2mask.artifacts.manifest import MANIFEST
from tag2mask.artifacts.step_table import STEPS
from tag2mask.classes import IGNORE
from tag2mask.data.index import read_classes, read_index
from tag2mask.data.masks import mask_path, read_mask
from tag2mask.data.splits import Split
from tag2mask.evaluation.records import (
    NO_THRESHOLD,
    SEGMENTER,
    EvaluationScores,
    MaskScores,
    PointScores,
    SplitScores,
    StageScores,
    read_scores,
)
from tag2mask.evaluation.resampled import PSEUDO_MASKS
from tag2mask.metrics.bootstrap import percentile_interval
from tag2mask.metrics.confusion import Float64

Scores = dict[str, Any]


def split_row(split: SplitScores) -> Scores:
    """Return the scores of a split: of the maps of each stage, the masks and the network.

    Maps have precision and recall at the background threshold in use and at the best one, which is
    chosen on the masks of the same photos.
    """
    found: Scores = {"photos": split.photos}
    found["maps"] = [_stage(stage) for stage in split.stages if stage.best is not None]
    if split.masks is not None:
        threshold = _threshold(split.background_threshold, split.background_source)
        found["masks"] = {**threshold, **_masks(split.masks)}
    if split.network is not None:
        found["network"] = {"threshold_from": NO_THRESHOLD, **_masks(split.network)}
    return found


def run_row(run: Path, names: Mapping[Split, str]) -> Scores:
    """Return the scores of a run by split; ``names``: how its splits are called in the row."""
    scores = read_scores(Evaluation.open(run / Evaluation.step))
    by_split = {split.split: split_row(split) for split in scores.splits}
    found = {name: by_split[split] for split, name in names.items() if split in by_split}
    for split, name in names.items():
        if "masks" in found.get(name, {}):
            found[name]["masks"]["labeled"] = labeled_share(run, split)
    return found


def labeled_share(run: Path, split: Split) -> float | None:
    """Return the share of pixels that pseudo masks of a split don't ignore, in percent.

    Ignored pixels are left out of the masks' scores, so these are of fewer pixels.
    """
    prepared = run / PreparedData.step
    scored = Evaluation.open(run / Evaluation.step).manifest.coverage["masks"].path
    assert scored is not None
    folder, classes = run / Evaluation.step / scored, len(read_classes(prepared))
    labeled = pixels = 0
    for sample in read_index(prepared, split):
        path = mask_path(folder, sample.id)
        if path.is_file():
            mask = read_mask(path, classes)
            labeled += int(np.count_nonzero(mask != IGNORE))
            pixels += mask.size
    return _percent(labeled / pixels) if pixels else None


def gains(run: Path, base: Path, names: Mapping[Split, str]) -> Scores:
    """Return what masks and network gain over those of another run on the same photos.

    Returns:
        By ``masks``, ``masks_at_best`` (the last maps at their best background threshold, which is
        chosen on the same photos) and ``network``, and by split: the difference in points and its
        95 % interval over photos, a paired bootstrap (`tag2mask.metrics.bootstrap`), as [gain, low,
        high].
    """
    one, other = _Scored.of(run), _Scored.of(base)
    found: Scores = {"masks": {}, "masks_at_best": {}, "network": {}}
    for split, name in names.items():
        for what, own, before in zip(found, one.values(split), other.values(split), strict=True):
            if own is None or before is None:
                continue
            gain = own.miou - before.miou
            ends: tuple[float, ...] = ()
            if own.resampled is not None and before.resampled is not None:
                ends = percentile_interval(own.resampled - before.resampled) or ()
            found[what][name] = [_percent(value) for value in (gain, *ends)]
    return found


class _Value(NamedTuple):
    """An mIoU, and its values in the resamples (R,)."""

    miou: float
    resampled: Float64 | None


class _Scored(NamedTuple):
    """A run that was evaluated."""

    scores: EvaluationScores
    resampled: Resampled

    @classmethod
    def of(cls, run: Path) -> _Scored:
        """Read a run's scores; the counts at the best thresholds are made once."""
        folders = {
            kind: run / kind.step for kind in STEPS if (run / kind.step / MANIFEST).is_file()
        }
        kept = run / "resampled.json"
        return cls(
            read_scores(Evaluation.open(folders[Evaluation])), trial_resampled(folders, kept)
        )

    def values(self, split: str) -> tuple[_Value | None, _Value | None, _Value | None]:
        """Return the mIoU of the masks, of the last maps at best, and of the network."""
        own = next((one for one in self.scores.splits if one.split == split), None)
        if own is None:
            return None, None, None
        maps = [stage for stage in own.stages if stage.best is not None]
        best, name = (maps[-1].best, maps[-1].name) if maps else (None, "")
        used = self.resampled.used
        return (
            _value(own.masks, used.get((split, PSEUDO_MASKS))),
            _value(best, self.resampled.best.get((split, name))),
            _value(own.network, used.get((split, SEGMENTER))),
        )


def _value(scores: MaskScores | PointScores | None, resampled: Float64 | None) -> _Value | None:
    return None if scores is None or scores.miou is None else _Value(scores.miou, resampled)


def _stage(stage: StageScores) -> Scores:
    found: Scores = {"name": stage.name}
    if stage.used is not None:
        found |= _point(stage.used)
    if stage.best is not None:
        best = _point(stage.best)
        del best["threshold_from"]
        found["best"] = best
    return found


def _point(point: PointScores) -> Scores:
    return {
        **_threshold(point.background_threshold, point.background_source),
        "miou": _percent(point.miou),
        "precision": _percent(point.precision),
        "recall": _percent(point.recall),
    }


def _threshold(value: float | None, source: str) -> Scores:
    return {"threshold": None if value is None else round(value, 4), "threshold_from": source}


def _masks(masks: MaskScores) -> Scores:
    return {
        "miou": _percent(masks.miou),
        "precision": _percent(masks.precision),
        "recall": _percent(masks.recall),
        "boundary_iou": _percent(masks.boundary_miou),
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 2)
