"""Means of maps: each run counts the same, and the runs themselves stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.experiments.tags_alone.ensemble import average_maps, mean_map

from tag2mask.artifacts.handles import CamMaps
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.errors import DataError
from tag2mask.maps.cam_map import CamMap, read_map, write_map


def cam_map(scores: list[list[float]], probability: float = 0.5, photo: str = "a") -> CamMap:
    """A map of two classes, one row of cells each."""
    values = np.array(scores, np.float32)[:, None]
    return CamMap(photo, (0, 2), values, (4, 8), np.full(3, probability, np.float32))


def run(out: Path, *maps: CamMap) -> Path:
    with step_folder(CamMaps, out / "infer-cam", section={"made by": out.name}) as step:
        for own in maps:
            write_map(step.path / "maps" / f"{own.id}.npz", own)
        step.finish()
    return out


def test_each_class_is_normalized_before_and_after_the_mean() -> None:
    mean = mean_map([cam_map([[0.5, 0.0], [0, 0]], 0.2), cam_map([[0.2, 0.8], [0, 0.4]], 0.6)])
    # First class: [1, 0] and [0.25, 1], mean [0.625, 0.5]; second: [0, 0] and [0, 1].
    assert mean.scores[:, 0] == pytest.approx(np.array([[1, 0.8], [0, 1]]))
    assert mean.probabilities == pytest.approx([0.4] * 3)


def test_maps_of_a_run_are_replaced_once(tmp_path: Path) -> None:
    one = run(tmp_path / "one", cam_map([[1, 0], [1, 0]]), cam_map([[1, 1], [1, 1]], photo="b"))
    other = run(tmp_path / "other", cam_map([[0, 1], [1, 0]]), cam_map([[1, 1], [1, 1]], photo="b"))
    out = run(tmp_path / "out", cam_map([[1, 0], [1, 0]]), cam_map([[1, 1], [1, 1]], photo="b"))
    assert average_maps(out, [one, other]) == 1, "the maps of photo b agree"
    assert read_map(out / "infer-cam/maps/a.npz").scores[:, 0].tolist() == [[1, 1], [1, 0]]
    assert average_maps(out, [one, other]) == 0
    assert read_map(one / "infer-cam/maps/a.npz").scores[:, 0].tolist() == [[1, 0], [1, 0]]


def test_maps_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"different tags, classes or sizes"):
        mean_map([cam_map([[1, 0], [1, 0]]), cam_map([[1, 0, 0], [1, 0, 0]])])
    one, out = (run(tmp_path / name, cam_map([[1, 0], [1, 0]])) for name in ("one", "out"))
    empty = run(tmp_path / "empty")
    with pytest.raises(DataError, match=r"map is missing"):
        average_maps(out, [one, empty])
