"""Intervals of differences, from the counts of photos on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tag2mask.errors import RunFolderError
from tag2mask.evaluation.records import EvaluationScores
from tag2mask.evaluation.resampled import difference_interval, read_resampled
from tag2mask.metrics.bootstrap import ResampledTallies

pytestmark = pytest.mark.smoke

SCORES = EvaluationScores(("background", "cat"), "default", ())


def write(path: Path, right: list[int], **other: object) -> Path:
    rows = [
        {
            "id": f"{i}",
            "split": "val",
            "group": f"{i}",
            "counts": {"SEAM": [[0, 0, 50], [1, 1, r], [1, 0, 50 - r]]},
        }
        | other
        for i, r in enumerate(right)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_counts_are_resampled_as_by_the_evaluation(tmp_path: Path) -> None:
    path = write(tmp_path / "photos.jsonl", [10, 30, 45, 20])
    tallies = ResampledTallies(1)
    for i, r in enumerate([10, 30, 45, 20]):
        tallies.add(f"{i}", np.array([[0, 0, 50], [1, 1, r], [1, 0, 50 - r]]))
    found = read_resampled(path, SCORES)
    np.testing.assert_array_equal(found["val", "SEAM"], tallies.miou())


def test_the_difference_on_the_same_photos_is_certain(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    right = rng.integers(5, 40, 60)
    one = read_resampled(write(tmp_path / "one.jsonl", (right + 5).tolist()), SCORES)
    other = read_resampled(write(tmp_path / "other.jsonl", right.tolist()), SCORES)
    low, high = difference_interval(one, other, "val", "SEAM")
    assert 0 < low < high < low + 0.02
    assert difference_interval(one, one, "val", "SEAM") == (0, 0)
    assert difference_interval(one, other, "val", "walk") is None


def test_rows_of_an_earlier_version_have_no_counts(tmp_path: Path) -> None:
    path = tmp_path / "photos.jsonl"
    path.write_text('{"id": "a", "split": "val"}\n')
    assert read_resampled(path, SCORES) == {}


@pytest.mark.parametrize(
    "counts", [{"SEAM": [[0, 0]]}, {"SEAM": [[0, 2, 1]]}, {"SEAM": [[0, 0, -1]]}, {"SEAM": "x"}, 3]
)
def test_damaged_counts_are_named(tmp_path: Path, counts: object) -> None:
    path = write(tmp_path / "photos.jsonl", [1], counts=counts)
    with pytest.raises(RunFolderError, match="is missing or damaged"):
        read_resampled(path, SCORES)
