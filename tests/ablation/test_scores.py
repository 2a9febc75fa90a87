"""Numbers over seeds: mean, spread and gains as NumPy says, taken from the right stage."""

from __future__ import annotations

import numpy as np
import pytest
from ablation_scores import cam_and_seam, evaluation, split, trial
from hypothesis import given
from hypothesis import strategies as st

from tag2mask.ablation.scores import Statistic, measured, row_scores, statistic

shares = st.floats(0.0, 1.0)


@given(st.lists(st.none() | shares, max_size=6))
def test_mean_and_sample_deviation_of_the_values_there_are(values) -> None:
    known = [value for value in values if value is not None]
    found = statistic(values)
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
    found = measured(evaluation(split("train", stages, 0.44), split("val", [], None)))
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


def test_masks_are_of_the_stage_before_a_crf_that_is_only_compared_with() -> None:
    stages = [("SEAM", 0.4, 0.41), ("SEAM + CRF", 0.42, None), ("segmenter", 0.5, None)]
    for miou, wanted in ((0.4, ("SEAM", 0.41)), (0.42, ("SEAM + CRF", None))):
        (masks,) = [
            value
            for value in measured(evaluation(split("train", stages, miou)))
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
def test_names_of_stages_are_understood(name: str, measure: str) -> None:
    found = measured(evaluation(split("train", [(name, 0.4, None)], None)))
    assert [value.measure for value in found] == [measure]


def test_gains_are_taken_seed_by_seed() -> None:
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
    assert gain.n == 2, "seed 3 has no partner, seed 2 is not done"
    assert gain.mean == pytest.approx(0.035)
    assert gain.spread == pytest.approx(np.std([0.02, 0.05], ddof=1))
    assert other.own("train").best_gain.mean == pytest.approx(0.035)
    assert other.own("train").miou.n == 3
    assert other.own("val") is None


def test_a_measure_of_its_own_is_compared_with_the_first_rows_own() -> None:
    scores = cam_and_seam()
    cam, seam = scores.rows
    own = seam.own("train")
    assert (own.stage, own.tag_source) == ("segmenter", "no")
    assert own.gain == Statistic(pytest.approx(0.47 - 0.40), None, 1)
    assert cam.seconds == Statistic(60.0, 0.0, 2)
    assert scores.counts == {"done": 3, "failed": 1, "waiting": 0}
    assert scores.splits == ("train",)
