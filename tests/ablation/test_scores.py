"""Scores over seeds: mean, spread and gains as in NumPy, from the right stage."""

from __future__ import annotations

import numpy as np
import pytest
from ablation_scores import cam_and_seam, evaluation, split, trial
from hypothesis import given
from hypothesis import strategies as st

from tag2mask.ablation.records import Statistic
from tag2mask.ablation.scores import mean_and_spread, measurements, row_scores
from tag2mask.ablation.text_tables import gain_text, mean_percent, with_interval

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


def test_intervals_of_gains_are_those_of_the_resampled_differences() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.03, 1000)  # of the photos, the same in both rows
    base = {seed: {("val", "pseudo masks"): 0.4 + noise} for seed in (0, 1)}
    better = {0: {("val", "pseudo masks"): 0.5 + noise + rng.normal(0, 0.001, 1000)}}
    of_val = [split("val", [("SEAM", 0.4, 0.41)], 0.4), split("val", [("SEAM", 0.5, 0.51)], 0.5)]
    first = row_scores(
        "CAM", "r", (), "tags", "masks", [trial(s, of_val[0]) for s in (0, 1)], None, base, base
    )
    second = row_scores(
        "SEAM", "r", (), "tags", "masks", [trial(0, of_val[1])], first, better, base
    )
    own, other = first.own("val"), second.own("val")
    assert own.miou_interval == pytest.approx((0.34, 0.46), abs=0.01)
    assert own.gain_interval is None
    assert other.gain_interval == pytest.approx((0.098, 0.102), abs=0.001)
    assert "40.00 ± 0.00 (34." in with_interval(mean_percent(own.miou), own.miou_interval)
    assert gain_text(other).startswith("+10.00 (+9.8") and gain_text(own) == "–"
    maps = next(s for s in second.summaries if s.measure == "maps")
    assert maps.miou_interval is None, "the stage has no counts"
