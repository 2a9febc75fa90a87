"""The generated photos with small defects: reproducible, of the promised sizes, tags as drawn."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.small_defects import CLASSES, GAP, LARGEST, main, make_part, make_small_defects
from scipy.ndimage import find_objects, label

from tag2mask.data.checks.data_folder import check_data

SIDE = 240


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts") / "data"
    return make_small_defects(folder, train=12, test=8, side=SIDE)


def test_the_data_is_read_without_an_error(folder: Path) -> None:
    report = check_data(folder)
    assert report.errors == () and report.class_names == CLASSES
    assert report.photos == {"train": 12, "val": 8} and report.masks == 8
    assert 2 <= report.untagged <= 12


def test_tags_are_the_classes_in_the_mask(folder: Path) -> None:
    with (folder / "tags.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for index, row in enumerate(rows):
        part = make_part(index, side=SIDE, seed=0)
        assert row["tags"] == ";".join(CLASSES[tag] for tag in part.tags)
        shown = set(np.unique(part.mask).tolist()) - {0}
        assert shown == {tag + 1 for tag in part.tags}


def test_defects_are_small_apart_and_visible() -> None:
    parts = [make_part(index, side=SIDE, seed=1) for index in range(12)]
    sides = []
    for part in parts:
        numbered, _ = label(part.mask > 0, np.ones((3, 3)))
        for rows, columns in find_objects(numbered):
            sides.append(max(rows.stop - rows.start, columns.stop - columns.start))
            inside = part.mask[rows, columns] > 0
            own = part.photo[rows, columns][inside].astype(float)
            around = part.photo[
                rows.start - 6 : rows.stop + 6, columns.start - 6 : columns.stop + 6
            ]
            assert abs(own - np.median(around, axis=(0, 1))).mean() > 8
    assert len(sides) >= 8 and max(sides) <= LARGEST + 2 < GAP and min(sides) >= 5
    assert max(sides) - min(sides) > 8


def test_another_seed_gives_other_photos() -> None:
    same, other = make_part(3, side=SIDE, seed=0), make_part(3, side=SIDE, seed=1)
    np.testing.assert_array_equal(same.photo, make_part(3, side=SIDE, seed=0).photo)
    assert (same.photo != other.photo).mean() > 0.5


def test_a_folder_with_files_is_refused_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    (folder / "images").mkdir(parents=True)
    (folder / "tags.csv").write_text("mine")
    (tmp_path / "file").touch()
    for out, message in ((folder, "photos: the folder isn't empty"), (tmp_path / "file", "file: ")):
        monkeypatch.setattr(sys, "argv", ["small_defects", str(out), "--train", "1", "--test", "1"])
        with pytest.raises(SystemExit, match=message) as end:
            main()
        assert isinstance(end.value.code, str)  # the interpreter prints it and exits with 1
    assert (folder / "tags.csv").read_text() == "mine" and len(list(folder.iterdir())) == 2
    empty = tmp_path / "new"
    empty.mkdir()
    assert make_small_defects(empty, train=1, test=0, side=120) == empty
