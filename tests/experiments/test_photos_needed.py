"""The experiment on the number of photos: nested sets, one line per point, nothing done twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.demo_run import TOY
from benchmarks.experiments import photos_needed
from benchmarks.experiments.photos_needed import Point, chosen, main, write_data

from small_runs import NAMES, prepared, write_photos
from tag2mask.artifacts.handles import PreparedData
from tag2mask.data.index import read_classes, read_index, read_mask_paths
from tag2mask.data.masks import read_mask

POINT = Point("run", ("dog",), 2, 3, 1, 0, "lite0-cpu", ())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    folder = tmp_path_factory.mktemp("source")
    return prepared(write_photos(folder / "photos", 36, masks=True), folder / "run" / "prepare")


def test_larger_sets_contain_the_smaller_ones(data: PreparedData) -> None:
    samples = read_index(data.path, "train")
    before: set[str] = set()
    for photos, without in ((1, 0), (2, 1), (4, 1), (99, 99)):
        found = chosen(samples, (0, 1, 2), photos, without, seed=0)
        assert before <= {sample.id for sample in found}
        before = {sample.id for sample in found}
        assert sum(not sample.tags for sample in found) == min(without, 3)
        for tag in range(3):
            shown = sum(tag in sample.tags for sample in samples)
            assert sum(tag in sample.tags for sample in found) >= min(photos, shown)
    assert len(before) == len(samples)
    first, other = (chosen(samples, (0,), 2, 0, seed) for seed in (0, 1))
    assert first != other


def test_other_classes_are_background(data: PreparedData, tmp_path: Path) -> None:
    write_data(POINT, data.path, tmp_path / "data")
    made = prepared(tmp_path / "data", tmp_path / "prepare")
    assert read_classes(made.path).names == ("dog",)
    train, val = read_index(made.path, "train"), read_index(made.path, "val")
    assert sorted(sample.tags for sample in train) == [(), (), (), (0,), (0,)]
    assert [sample.tags for sample in val] == [(0,)]
    mask, before = (
        read_mask(read_mask_paths(folder)[val[0].id.removeprefix(prefix)], classes)
        for folder, prefix, classes in ((made.path, "", 1), (data.path, "images/", len(NAMES)))
    )
    np.testing.assert_array_equal(mask, before == 1 + NAMES.index("dog"))


def test_a_point_with_a_line_is_not_run_again(
    data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[int, int, tuple[str, ...]]] = []

    def run_point(point: Point, folder: Path, work: Path) -> dict[str, object]:
        ran.append((point.photos, point.without, point.settings))
        return json.loads(json.dumps(point.__dict__)) | {"miou": 0.5}

    monkeypatch.setattr(photos_needed, "run_point", run_point)
    line = [str(data.path.parent), str(tmp_path), "--log", str(tmp_path / "log.jsonl")]
    main([*line, "--photos", "4", "2", "--without", "0", "3"])
    assert ran == [(2, 0, ()), (2, 3, ()), (4, 0, ()), (4, 3, ())]
    main([*line, "--photos", "2", "4", "8", "--without", "3"])
    assert ran[4:] == [(8, 3, ())]
    main([*line, "--photos", "2", "--set", "train_cam.epochs=1"])
    assert ran[5:] == [(2, 0, ("train_cam.epochs=1",))]
    main([*line, "--photos", "99", "--minutes", "-1"])
    assert len(ran) == 6
    with pytest.raises(SystemExit):
        main([*line, "--classes", "unicorn"])


def test_a_refusal_is_a_line(
    data: PreparedData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    line = [str(data.path.parent), str(tmp_path / "work"), "--log", str(log), "--photos", "2"]
    main([*line, "--set", "train_cam.crop=no"])
    assert "train_cam.crop" in json.loads(log.read_text())["refused"]
    scored = {"train": 5, "miou": 0.4567, "iou": {"cat": 0.5, "dog": 0.25, "bird": float("nan")}}
    line_of = POINT.__dict__ | {"classes": NAMES}
    with log.open("a") as file:
        file.write(json.dumps(line_of | scored) + "\n")
    capsys.readouterr()
    main([*line, "--table"])
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 4 and "train_cam.crop" in rows[2]
    assert rows[3] == "| run | 3 | 2 | 3 | 5 | 45.7 | 25 and 50 |"


@pytest.mark.slow
def test_points_are_run_and_scored(data: PreparedData, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    line = [str(data.path.parent), str(tmp_path / "work"), "--log", str(log), "--val", "2"]
    shown = ("pseudo_masks.threshold_from=fixed", "pseudo_masks.background_threshold=0.05")
    settings = [word for value in (*TOY, *shown) for word in ("--set", value)]
    main([*line, "--photos", "2", "4", *settings])
    rows = [json.loads(text) for text in log.read_text().splitlines()]
    assert [row["photos"] for row in rows] == [2, 4]
    for row in rows:
        assert "refused" not in row, row
        assert row["train"] <= 3 * row["photos"] and set(row["iou"]) == set(NAMES)
        assert 0 < row["miou"] < 1 and min(row["shown"].values()) >= row["photos"]
