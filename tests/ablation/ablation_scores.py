"""Small evaluations and ablations for the tests of tables and pages."""

from __future__ import annotations

from collections.abc import Sequence

from tag2mask.ablation.records import AblationScores, TrialScores
from tag2mask.ablation.scores import OtherRow, measurements, row_scores
from tag2mask.evaluation.records import (
    CurveScores,
    EvaluationScores,
    MaskScores,
    PointScores,
    SplitScores,
    StageScores,
)

Stages = Sequence[tuple[str, float | None, float | None]]
"""Name, mIoU at the background threshold in use, mIoU at the best one."""


def split(name: str, stages: Stages, masks: float | None) -> SplitScores:
    """Return the scores of a split of 10 photos with known tags."""
    records = tuple(
        StageScores(
            stage,
            10,
            "no" if stage == "segmenter" else "known",
            PointScores(0.3, "estimated", used, 0.6, 0.7),
            None if best is None else PointScores(0.4, "best", best, 0.5, 0.8),
            None if best is None else CurveScores((0.4,), (best,), 0.4, best),
            None if best is not None or used is None else used / 3,
        )
        for stage, used, best in stages
    )
    made = (
        None if masks is None else MaskScores(10, masks, masks / 2, 0.9, 0.6, 0.7, 0.1, 0.1, (), ())
    )
    return SplitScores(name, 10, "known", 0.3, "estimated", made, None, None, (), records)


def evaluation(*splits: SplitScores) -> EvaluationScores:
    """Return an evaluation of some splits."""
    return EvaluationScores(("background", "cat"), "default", splits)


def trial(seed: int, *splits: SplitScores) -> TrialScores:
    """Return a finished trial of one minute."""
    return TrialScores(
        seed,
        "done",
        f"tag2mask run --set train_cam.seed={seed}",
        seconds=60.0,
        measured=measurements(evaluation(*splits)),
    )


def cam_and_seam(
    name: str = "SEAM & 50 %", message: str = "it <broke> & failed_1"
) -> AblationScores:
    """Return an ablation of two rows and seeds; the second seed of the second row failed."""
    cam = row_scores(
        "CAM",
        "lite0-cpu",
        ("walk.enabled=false",),
        "tags",
        "masks",
        [
            trial(seed, split("train", [("CAM", used, used + 0.02)], used))
            for seed, used in ((0, 0.40), (1, 0.42))
        ],
    )
    done = trial(0, split("train", [("SEAM", 0.44, 0.45), ("segmenter", 0.47, None)], 0.44))
    failed = TrialScores(1, "failed", "tag2mask run --set train_cam.seed=1", message)
    base = OtherRow(cam, {})
    seam = row_scores(name, "lite0-cpu", (), "masks", "segmenter", [done, failed], base=base)
    return AblationScores("0", "paper", "What each part adds.", "photos", (0, 1), (cam, seam))
