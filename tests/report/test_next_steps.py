"""Findings of the report: each ends in a next step and in what it computes again."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tag2mask.artifacts.manifest import Manifest
from tag2mask.artifacts.step_table import REPORTED_STEPS
from tag2mask.evaluation.records import (
    ClassRates,
    ClassTagScores,
    CurveScores,
    DoubtfulTag,
    EvaluationScores,
    PhotoRates,
    SplitScores,
    TagScores,
)
from tag2mask.evaluation.scores import mask_scores
from tag2mask.metrics.bootstrap import ResampledTallies
from tag2mask.metrics.confusion import Confusion
from tag2mask.recipe.loading import load_recipe
from tag2mask.report.page import Advice, Note
from tag2mask.report.run_folder import RunFolder
from tag2mask.report.sections.next_steps import FINDINGS, next_steps_section
from tag2mask.report.sections.scored_runs import ScoredRun

pytestmark = pytest.mark.smoke

SECONDS = {"train-cam": 600.0, "walk": 60.0, "pseudo-masks": 5.0, "train-segmenter": 2520.0}


def run_folder(**counts: int) -> RunFolder:
    manifests = {
        kind.step: Manifest(
            step=kind.step,
            section={"epochs": 5},
            identity="",
            fingerprint="",
            started="",
            seconds=SECONDS.get(kind.step, 0.0),
            tag2mask="",
            counts={"photos": 100} | counts,
        )
        for kind in REPORTED_STEPS
    }
    return RunFolder(Path("run"), "run", manifests, (), "")


def split_of(counts: Any, names: tuple[str, ...], **more: Any) -> SplitScores:
    confusion = Confusion(np.array(counts, np.int64))
    own = mask_scores(
        confusion, None, 9, ("background", *names), ResampledTallies(len(names)), published=False
    )
    found = SplitScores("train", 100, "known", 0.5, "walk", own, None, None, ())
    return replace(found, **more)


def findings(split: SplitScores, names: tuple[str, ...], **counts: int) -> list[Any]:
    scores = EvaluationScores(("background", *names), "default", (split,))
    section = next_steps_section(run_folder(**counts), ScoredRun("run", 0, scores))
    (block,) = section.blocks
    return list(block.findings) if isinstance(block, Advice) else [block]


HORSE = ("horse",)


def test_a_class_with_background_in_its_masks_gets_a_higher_threshold() -> None:
    (found,) = findings(split_of([[900, 29], [3, 71]], HORSE), HORSE)
    assert found == (
        "masks of horse hold 29 % background",
        "raise its threshold (0.5 now): pseudo_masks.class_thresholds.horse=0.6",
        "pseudo-masks 5.0 s + 42 min 00 s",
    )


def test_a_class_that_is_cut_off_gets_a_lower_threshold() -> None:
    own = {"class_thresholds": {"horse": 0.62}}
    (found,) = findings(split_of([[900, 2], [40, 60]], HORSE, **own), HORSE)
    assert found[:2] == (
        "masks of horse miss 40 % of it",
        "lower its threshold (0.62 now): pseudo_masks.class_thresholds.horse=0.52",
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("bird's nest, 2", '"pseudo_masks.class_thresholds.bird\'s nest, 2=0.6"'),
        ("Käfer", '"pseudo_masks.class_thresholds.Käfer=0.6"'),
        ("5 $", "'pseudo_masks.class_thresholds.5 $=0.6'"),
        ("M2.5", """'pseudo_masks.class_thresholds={"rust": 0.3, "M2.5": 0.6}'"""),
    ],
)
def test_names_that_need_quotes_are_quoted_and_other_thresholds_stay(name: str, shown: str) -> None:
    names = (name, "rust")
    own = {"class_thresholds": {"rust": 0.3}}
    counts = [[900, 29, 0], [3, 71, 0], [0, 0, 90]]
    (found,) = findings(split_of(counts, names, **own), names)
    assert found[1].endswith(f": {shown}")
    (setting,) = shlex.split(shown)
    recipe = load_recipe("lite0-cpu", ["pseudo_masks.class_thresholds.rust=0.3", setting])
    assert recipe.pseudo_masks.class_thresholds == {"rust": 0.3, name: 0.6}


def test_maps_elsewhere_need_training_not_a_threshold() -> None:
    (found,) = findings(split_of([[900, 40], [35, 60]], HORSE), HORSE)
    assert found[0].startswith("masks of horse hold 40 % background and miss 37 % of it")
    assert found[1].endswith("train_cam.epochs=10")
    assert found[2] == "train-cam 10 min 00 s + 43 min 05 s"


def test_good_masks_have_no_finding() -> None:
    (found,) = findings(split_of([[900, 5], [5, 95]], HORSE), HORSE)
    assert isinstance(found, Note) and "Nothing stands out" in found.text


def test_without_masks_the_first_step_is_to_draw_some() -> None:
    found = findings(split_of([[900, 5], [5, 95]], HORSE, masks=None), HORSE)
    assert [finding[0].split(",")[0] for finding in found] == ["No photo has a mask"]


def test_other_findings_name_their_figures() -> None:
    rates = PhotoRates(
        30,
        30,
        0.001,
        (ClassRates("horse", 10, 4, None, 20, 3, None),),
        ((6,), (3,)),
        ((10,), (20,)),
    )
    split = split_of(
        [[900, 5], [5, 95]],
        HORSE,
        rates=rates,
        tags=TagScores(30, 0.6, 0.5, (ClassTagScores("horse", 10, 0.6, None, None, None),)),
        doubtful_tags=(DoubtfulTag("a", "horse", "missing", 0.9, 0.4),),
        curve=CurveScores((0.3,), (0.99,), 0.3, 0.99),
    )
    texts = [finding[0] for finding in findings(split, HORSE, without_tagged_pixels=2)]
    assert texts == [
        "the classifier knows horse poorly: average precision 60.0\xa0% (train, 10 photos)",
        "the network misses horse in 4 of 10 photos (train)",
        "the background threshold 0.5 gives 94.7\xa0% mIoU, 0.3 would give 99.0\xa0% on the same "
        "masks",
        "the network shows horse in 3 of 20 photos without it (train)",
        "masks without any pixel of the photo's tags: 2 (listed under Times)",
        "tags that look wrong or missing: 1",
    ]


def test_many_findings_are_bounded_and_the_gravest_come_first() -> None:
    names = tuple(f"class {i}" for i in range(200))
    counts = np.diag(np.full(201, 100))
    counts[0, 1:] = 50 + np.arange(200)
    section = next_steps_section(
        run_folder(),
        ScoredRun(
            "run",
            0,
            EvaluationScores(("background", *names), "default", (split_of(counts, names),)),
        ),
    )
    (block,) = section.blocks
    assert isinstance(block, Advice) and len(block.findings) == FINDINGS
    assert block.findings[0][0] == "masks of class 199 hold 71 % background"
    assert block.caption.endswith(" 188 lesser findings are left out.")
