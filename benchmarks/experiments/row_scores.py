"""The scores of a finished run as a row of ``rows.jsonl``: in percent, two decimals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tag2mask.artifacts.handles import Evaluation, PreparedData
from tag2mask.artifacts.items import item_path
from tag2mask.classes import IGNORE
from tag2mask.data.index import read_classes, read_index
from tag2mask.data.masks import read_mask
from tag2mask.evaluation.records import (
    NO_THRESHOLD,
    SEGMENTER,
    EvaluationScores,
    MaskScores,
    PointScores,
    SplitScores,
    StageScores,
)
from tag2mask.evaluation.resampled import (
    PSEUDO_MASKS,
    ResampledMiou,
    difference_interval,
    read_resampled,
)
from tag2mask.report.run_folder import PHOTOS, read_scores

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


def run_row(run: Path, names: dict[str, str]) -> Scores:
    """Return the scores of a run by split; ``names``: how its splits are called in the row."""
    scores = read_scores(Evaluation.open(run / Evaluation.step))
    found = {names[split.split]: split_row(split) for split in scores.splits}
    for split, name in names.items():
        if "masks" in found.get(name, {}):
            found[name]["masks"]["labeled"] = labeled_share(run, split)
    return found


def labeled_share(run: Path, split: str) -> float | None:
    """Return the share of pixels that pseudo masks of a split don't ignore, in percent.

    Ignored pixels are left out of the masks' scores, so these are of fewer pixels.
    """
    prepared = run / PreparedData.step
    folder, classes = mask_folder(run), len(read_classes(prepared))
    labeled = pixels = 0
    for sample in read_index(prepared, split):
        path = item_path(folder, sample.id, ".png")
        if path.is_file():
            mask = read_mask(path, classes)
            labeled += int(np.count_nonzero(mask != IGNORE))
            pixels += mask.size
    return _percent(labeled / pixels) if pixels else None


def mask_folder(run: Path) -> Path:
    """Return the folder of the masks that a run's evaluation scored."""
    read = Evaluation.open(run / Evaluation.step).manifest.coverage["masks"].path
    assert read is not None
    return run / Evaluation.step / read / "masks"


def gains(run: Path, base: Path, names: dict[str, str]) -> Scores:
    """Return what masks and network gain over those of another run on the same photos.

    Returns:
        By ``masks`` and ``network`` and by split: the difference in points and its 95 % interval
        over photos, a paired bootstrap (`tag2mask.metrics.bootstrap`), as [gain, low, high].
    """
    (own, own_miou), (other, other_miou) = _resampled(run), _resampled(base)
    found: Scores = {"masks": {}, "network": {}}
    for split in own.splits:
        before = next((one for one in other.splits if one.split == split.split), None)
        if before is None:
            continue
        for what, mine, theirs, stage in (
            ("masks", split.masks, before.masks, PSEUDO_MASKS),
            ("network", split.network, before.network, SEGMENTER),
        ):
            if mine is None or theirs is None or mine.miou is None or theirs.miou is None:
                continue
            ends = difference_interval(own_miou, other_miou, split.split, stage) or ()
            gain = (mine.miou - theirs.miou, *ends)
            found[what][names[split.split]] = [_percent(value) for value in gain]
    return found


def _resampled(run: Path) -> tuple[EvaluationScores, ResampledMiou]:
    evaluation = Evaluation.open(run / Evaluation.step)
    scores = read_scores(evaluation)
    return scores, read_resampled(evaluation.path / PHOTOS, scores)


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
