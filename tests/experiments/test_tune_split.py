"""The split for choosing settings: listed training photos are scored, the others train."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.experiments.tune_split import TUNE_PHOTOS, make_tune_split, read_ids
from voc_folder import CLASSES, write_voc_folder

from tag2mask.data.layouts.detect import read_inventory
from tag2mask.errors import DataError


def test_listed_photos_are_scored_and_validation_photos_left_out(tmp_path: Path) -> None:
    data = write_voc_folder(tmp_path / "data", train=5, val=2)
    listed = tmp_path / "listed.txt"
    listed.write_text("photo_03\nphoto_01\n")
    out = make_tune_split(data, listed, tmp_path / "out")
    found = read_inventory(out)
    assert found.class_names == CLASSES and not found.problems
    splits = {entry.id: entry.split for entry in found.entries}
    assert splits == {
        "photo_00": "train",
        "photo_01": "val",
        "photo_02": "train",
        "photo_03": "val",
        "photo_04": "train",
    }
    assert all(entry.image and entry.mask and entry.tags for entry in found.entries)
    assert make_tune_split(data, listed, tmp_path / "out") == out
    assert read_inventory(out) == found


def test_listed_photos_must_be_training_photos(tmp_path: Path) -> None:
    data = write_voc_folder(tmp_path / "data", train=5, val=2)
    listed = tmp_path / "listed.txt"
    listed.write_text("photo_01\nphoto_06\n")
    with pytest.raises(DataError, match=r"not among the training photos .*: photo_06 \["):
        make_tune_split(data, listed, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="no list of photos"):
        make_tune_split(tmp_path, listed, tmp_path / "out")


def test_the_shipped_list_is_of_200_photos_of_voc(shared: Path) -> None:
    train = read_ids(shared / "voc12/ImageSets/Segmentation/train.txt")
    listed = read_ids(TUNE_PHOTOS)
    assert len(set(listed)) == 200 and len(train) == 849 and set(listed) < set(train)
