"""Scores over seeds: mean, spread and gains as in NumPy, from the right stage."""

from __future__ import annotations

import numpy as np
import pytest
from ablation_scores import cam_and_seam, evaluation, split, trial
from hypothesis import given
from hypothesis import strategies as st

from tag2mask.ablation.records import Statistic
from tag2mask.ablation.scores import mean_and_spread, measurements, row_scores

shares = st.floats(0.0, 1.0)


@given(st.lists(st.none() | shares, max_size=6))
def test_mean_and_spread_of_known_values_equal_numpy(values) -> None:
    known = [value for value in values if value is not None]
    found = mean_and_spread(values)
    if not known:
        assert found is None
        return
    assert found.n == len(known)
    assert found.mean == pytest.approx(np.mean(known))
    assert (found.spread is None) == (len(known) == 1)
    if len(known) > 1:
        assert found.spread == pytest.approx(np.std(known, ddof=1), abs=1e-12)


def test_each_measure_comes_from_its_stage() -> None:
    stages = [
        ("SEAM", 0.4, 0.41),
        ("SEAM + CRF", 0.42, None),
        ("SEAM + walk", 0.45, 0.46),
        ("SEAM + walk + CRF", 0.44, None),
        ("segmenter", 0.5, None),
    ]
    found = measurements(evaluation(split("train", stages, 0.44), split("val", [], None)))
    values = {
        value.measure: (value.stage, value.miou, value.best_miou, value.boundary_miou)
        for value in found
    }
    assert values == {
        "maps": ("SEAM", 0.4, 0.41, None),
        "CRF": ("SEAM + CRF", 0.42, None, 0.42 / 3),
        "walk": ("SEAM + walk", 0.45, 0.46, None),
        "segmenter": ("segmenter", 0.5, None, 0.5 / 3),
        "masks": ("SEAM + walk + CRF", 0.44, None, 0.22),
    }
    assert {value.split for value in found} == {"train"}, "val has no masks"
    basis = {(value.photos, value.tag_source, value.background_source) for value in found}
    assert basis == {(10, "known", "estimated"), (10, "no", "estimated")}


def test_masks_skip_a_crf_stage_added_for_comparison() -> None:
    stages = [("SEAM", 0.4, 0.41), ("SEAM + CRF", 0.42, None), ("segmenter", 0.5, None)]
    for miou, wanted in ((0.4, ("SEAM", 0.41)), (0.42, ("SEAM + CRF", None))):
        (masks,) = [
            value
            for value in measurements(evaluation(split("train", stages, miou)))
            if value.measure == "masks"
        ]
        assert (masks.stage, masks.best_miou) == wanted


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("CAM", "maps"),
        ("MDC + PCM", "maps"),
        ("MDC + PCM + CRF", "CRF"),
        ("walk", "walk"),
        ("segmenter + CRF", "segmenter"),
    ],
)
def test_measure_follows_from_the_name_of_the_stage(name: str, measure: str) -> None:
    found = measurements(evaluation(split("train", [(name, 0.4, None)], None)))
    assert [value.measure for value in found] == [measure]


def test_gains_are_computed_per_seed() -> None:
    def row(name: str, by_seed: dict[int, float], first=None):
        return row_scores(
            name,
            "lite0-cpu",
            (),
            "tags",
            "masks",
            [
                trial(seed, split("train", [("CAM", value, value + 0.1)], value))
                for seed, value in by_seed.items()
            ],
            first,
        )

    first = row("CAM", {0: 0.40, 1: 0.50, 2: 0.30})
    other = row("SEAM", {1: 0.52, 0: 0.45, 3: 0.90}, first)
    assert first.own("train").gain is None
    gain = other.own("train").gain
    assert gain.n == 2, "seed 3 is missing in the first row, seed 2 in the other"
    assert gain.mean == pytest.approx(0.035)
    assert gain.spread == pytest.approx(np.std([0.02, 0.05], ddof=1))
    assert other.own("train").best_gain.mean == pytest.approx(0.035)
    assert other.own("train").miou.n == 3
    assert other.own("val") is None


def test_own_measures_are_compared() -> None:
    scores = cam_and_seam()
    cam, seam = scores.rows
    own = seam.own("train")
    assert (own.stage, own.tag_source) == ("segmenter", "no")
    assert own.gain == Statistic(pytest.approx(0.47 - 0.40), None, 1)
    assert cam.seconds == Statistic(60.0, 0.0, 2)
    assert scores.counts == {"done": 3, "failed": 1, "waiting": 0}
    assert scores.splits == ("train",)
