"""Scores over seeds: mean, spread and gains as in NumPy, from the right stage."""

from __future__ import annotations

import numpy as np
import pytest
from ablation_scores import cam_and_seam, evaluation, split, trial
from hypothesis import given
from hypothesis import strategies as st

from tag2mask.ablation.records import RowScores, Statistic
from tag2mask.ablation.scores import (
    OtherRow,
    Resampled,
    mean_and_spread,
    measurements,
    row_scores,
)
from tag2mask.ablation.text_tables import mean_percent, points, with_interval
from tag2mask.metrics.bootstrap import ResampledTallies, poisson_weights

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


def masks_row(name: str, by_seed: dict[int, float], *, maps: str = "CAM", **others) -> RowScores:
    """Return a row of masks; their best mIoU is 0.1 above the one at the threshold in use."""
    trials = [
        trial(seed, split("train", [(maps, value, value + 0.1)], value))
        for seed, value in by_seed.items()
    ]
    return row_scores(name, "lite0-cpu", (), "tags", "masks", trials, **others)


def test_differences_are_computed_per_seed() -> None:
    first = masks_row("CAM", {0: 0.40, 1: 0.50, 2: 0.30})
    before = masks_row("ER", {0: 0.44, 1: 0.50})
    found = masks_row(
        "SEAM",
        {1: 0.52, 0: 0.45, 3: 0.90},
        base=OtherRow(first, {}),
        previous=OtherRow(before, {}),
    )
    assert first.own("train").differences == ()
    own = found.own("train")
    gain = own.over_base
    assert gain.row == "CAM"
    assert gain.miou.n == 2, "seed 3 is missing in the first row, seed 2 in the other"
    assert gain.miou.mean == pytest.approx(0.035)
    assert gain.miou.spread == pytest.approx(np.std([0.02, 0.05], ddof=1))
    assert gain.best_miou.mean == pytest.approx(0.035)
    assert own.over_previous.row == "ER"
    assert own.over_previous.miou.mean == pytest.approx(0.015)
    assert [one.row for one in own.differences] == ["CAM", "ER"]
    assert own.miou.n == 3
    assert found.own("val") is None


def test_own_measures_are_compared_with_own_ones_and_others_with_the_same() -> None:
    scores = cam_and_seam()
    cam, seam = scores.rows
    own = seam.own("train")
    assert (own.stage, own.tag_source) == ("segmenter", "no")
    assert own.over_base.miou == Statistic(pytest.approx(0.47 - 0.40), None, 1)
    maps = next(value for value in seam.summaries if value.measure == "maps")
    assert maps.over_base.miou == Statistic(pytest.approx(0.44 - 0.40), None, 1)
    assert cam.seconds == Statistic(60.0, 0.0, 2)
    assert scores.counts == {"done": 3, "failed": 1, "waiting": 0}
    assert scores.splits == ("train",)


def test_the_row_before_is_named_once_if_it_is_the_base() -> None:
    cam = OtherRow(masks_row("CAM", {0: 0.4}), {})
    found = masks_row("SEAM", {0: 0.5}, base=cam, previous=cam)
    assert [one.row for one in found.own("train").differences] == ["CAM"]


def test_intervals_of_differences_are_those_of_the_resampled_differences() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.03, 1000)  # of the photos, the same in both rows
    stages = {("train", "pseudo masks"): 0.4 + noise}
    base = {seed: Resampled(stages, {("train", "CAM"): 0.5 + noise}) for seed in (0, 1)}
    better = {
        0: Resampled(
            {("train", "pseudo masks"): 0.5 + noise + rng.normal(0, 0.001, 1000)},
            {("train", "SEAM"): 0.55 + noise},
        )
    }
    first = masks_row("CAM", {0: 0.4, 1: 0.4}, resampled=base)
    second = masks_row("SEAM", {0: 0.5}, maps="SEAM", resampled=better, base=OtherRow(first, base))
    own, other = first.own("train"), second.own("train").over_base
    assert own.miou_interval == pytest.approx((0.34, 0.46), abs=0.01)
    assert other.miou_interval == pytest.approx((0.098, 0.102), abs=0.001)
    assert other.best_miou_interval == pytest.approx((0.05, 0.05), abs=1e-9)
    assert "40.00 ± 0.00 (34." in with_interval(mean_percent(own.miou), own.miou_interval)
    assert points(other.miou, 2, other.miou_interval).startswith("+10.00 (+9.8")
    maps = next(s for s in second.summaries if s.measure == "maps")
    assert maps.miou_interval is None, "the stage has no counts"
    assert maps.over_base.miou_interval is None


def test_exact_intervals_of_a_few_photos() -> None:
    """Two rows on three photos of two pixels each, against the weights themselves."""
    names, wrong = ("a", "b", "c"), {"CAM": (1, 1, 0), "SEAM": (1, 0, 0)}
    resampled = {}
    for row, errors in wrong.items():
        tallies = ResampledTallies(1)
        for photo, missed in zip(names, errors, strict=True):
            cells = [[0, 0, 1], [1, 0, 1]] if missed else [[0, 0, 1], [1, 1, 1]]
            tallies.add(photo, np.array(cells))
        resampled[row] = Resampled({("train", "pseudo masks"): tallies.miou()}, {})
    weights = np.stack([poisson_weights(photo) for photo in names]).astype(float)

    def miou(errors: tuple[int, ...]) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            missed, pixels = np.array(errors) @ weights, weights.sum(axis=0)
            found = np.stack([pixels / (pixels + missed), (pixels - missed) / pixels])
            return found.mean(axis=0)

    base = OtherRow(masks_row("CAM", {0: 0.4}), {0: resampled["CAM"]})
    seam = masks_row("SEAM", {0: 0.5}, resampled={0: resampled["SEAM"]}, base=base)
    differences = miou(wrong["SEAM"]) - miou(wrong["CAM"])
    wanted = np.nanquantile(differences, [0.025, 0.975])
    assert seam.own("train").over_base.miou_interval == pytest.approx(wanted, abs=1e-12)
