"""Folders that are not classes: photos, masks, results, and system folders."""

from pathlib import Path

import numpy as np
import pytest
from data_folders import write_array

from tag2mask.artifacts.manifest import MANIFEST, STARTED, Identity
from tag2mask.data.inventory import Inventory, SourceOptions
from tag2mask.data.layouts.class_folders.reader import read_folders
from tag2mask.errors import DataError
from tag2mask.files.json_file import write_json


def _noise(path: Path, seed: int = 0) -> None:
    write_array(path, np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8))


def _mask(path: Path) -> None:
    values = np.zeros((8, 8), np.uint8)
    values[2:6, 2:6] = 255
    write_array(path, values)


def _photos(root: Path, folders: str, count: int = 3) -> None:
    for folder in folders.split():
        for number in range(count):
            _noise(root / folder / f"{folder.replace('/', '_')}_{number}.png", number)


def _read(root: Path) -> Inventory:
    return read_folders(root, SourceOptions())


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        ("data", "data/"),  # FiftyOne
        ("imgs masks", "imgs/"),  # U-Net
        ("train train_masks", "train/"),  # Carvana
        ("ISIC_Training_Input ISIC_Training_GroundTruth", "ISIC_Training_Input/"),
        ("leftImg8bit gtFine", "leftImg8bit/"),  # Cityscapes
        ("train trainannot val valannot test testannot", "test/"),  # CamVid
        ("imagesTr labelsTr imagesTs", "imagesTr/"),  # nnU-Net
        ("images labels background", "images/"),
        ("train/imgs train/masks", "train/imgs/"),
        ("labels", "labels/"),
        ("ISIC-2017_Training_Data", "ISIC-2017_Training_Data/"),
    ],
)
def test_folders_of_photos_and_masks_are_not_classes(tmp_path, folders, named):
    _photos(tmp_path, folders)
    with pytest.raises(DataError, match=rf"photos in {named} but no tags.*classes\.txt"):
        _read(tmp_path)


@pytest.mark.parametrize("folders", ["data imgs", "train train_masks", "imgs labels"])
def test_listed_names_are_classes(tmp_path, folders):
    _photos(tmp_path, folders)
    (tmp_path / "classes.txt").write_text("\n".join(folders.split()))
    found = _read(tmp_path)
    assert found.class_names == tuple(folders.split()) and found.problems == ()


@pytest.mark.parametrize("folders", ["with_mask without_mask", "mask no_mask"])
def test_classes_whose_names_mention_masks_cause_a_warning(tmp_path, folders):
    _photos(tmp_path, folders)
    found = _read(tmp_path)
    assert found.class_names == tuple(folders.split())
    [problem] = found.problems
    assert problem.warning and "despite their names" in problem.message
    assert "list the classes in classes.txt" in problem.message


@pytest.mark.parametrize("splits", ["test", "valid", "val", "testing", "test train"])
def test_splits_that_count_as_classes_cause_a_warning(tmp_path, splits):
    _photos(tmp_path, f"cat dog {splits}")
    [problem] = _read(tmp_path).problems
    assert problem.warning and f"despite their names: {', '.join(splits.split())};" in (
        problem.message
    )
    (tmp_path / "classes.txt").write_text("\n".join(f"cat dog {splits}".split()))
    assert _read(tmp_path).problems == ()


@pytest.mark.parametrize(
    "folders", ["with_mask helmet", "dog train", "photo_album dog", "photo_album background"]
)
def test_words_in_the_names_of_some_classes_are_not_a_problem(tmp_path, folders):
    _photos(tmp_path, folders)
    assert _read(tmp_path).problems == ()


@pytest.mark.parametrize(
    ("photo", "mask"),
    [
        ("derm/{}.png", "truth/{}.png"),
        ("derm/{}.png", "truth/{}_lesion_1.bmp"),
        ("benign/{}.png", "benign/{}_mask.png"),
        ("covid/images/{}.png", "covid/drawn/{}.png"),
        ("train/derm/{}.png", "train/truth/{}.png"),
    ],
)
def test_masks_among_the_photos_are_an_error(tmp_path, photo, mask):
    _photos(tmp_path, "train/other" if photo.startswith("train") else "other")
    for number in range(4):
        _noise(tmp_path / photo.format(number), number)
        _mask(tmp_path / mask.format(number))
    with pytest.raises(DataError) as caught:
        _read(tmp_path)
    assert f"{mask.format(0)} looks like a mask of {photo.format(0)}" in str(caught.value)
    assert "into masks/" in str(caught.value) and "classes.txt" in str(caught.value)


def test_photos_with_the_names_of_others_are_not_masks(tmp_path):
    for name in ("dog", "cat"):
        for number in range(4):
            _noise(tmp_path / name / f"{name}_{number}.png", number)
            _noise(tmp_path / name / f"{name}_{number}_1.png", number + 9)
    for name in ("a", "b"):  # binary images, but not of photos
        for number in range(4):
            _mask(tmp_path / name / f"{name}_{number}.png")
    assert _read(tmp_path).problems == ()


def test_folders_of_masks_inside_of_a_class_are_reported(tmp_path):
    _photos(tmp_path, "dog dog/masks cat")
    [problem] = _read(tmp_path).problems
    assert problem.warning and "dog/masks" in problem.message


def test_system_folders_are_skipped(tmp_path):
    _photos(tmp_path, "dog cat @eaDir __MACOSX .ipynb_checkpoints dog/@eaDir/dog_1.png")
    found = _read(tmp_path)
    assert found.class_names == ("cat", "dog") and len(found.entries) == 6
    assert found.problems == ()
    assert found.remarks == (
        "system folders and those written by tag2mask are skipped: @eaDir, __MACOSX, dog/@eaDir",
    )


@pytest.mark.parametrize("folder", ["labelled", "runs/first/predict", "dog/labelled"])
def test_folders_that_a_step_wrote_are_skipped(tmp_path, folder):
    _photos(tmp_path, f"dog cat {folder}")
    assert len(_read(tmp_path).entries) == 9
    record = Identity(step="predict", section={}, identity="a", fingerprint="b", started="now")
    write_json(tmp_path / folder / STARTED, record.model_dump(mode="json"))
    found = _read(tmp_path)
    assert found.class_names == ("cat", "dog") and len(found.entries) == 6
    assert found.problems == () and folder in found.remarks[0]


def test_another_programs_manifest_is_not_a_reason(tmp_path):
    _photos(tmp_path, "dog cat")
    (tmp_path / "dog" / MANIFEST).write_text('{"version": 2}')
    assert len(_read(tmp_path).entries) == 6


def test_folders_without_photos_are_not_classes(tmp_path):
    _photos(tmp_path, "dog cat")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/train.py").touch()
    found = _read(tmp_path)
    [problem] = found.problems
    assert found.class_names == ("cat", "dog") and problem.warning and "scripts" in problem.message
    (tmp_path / "classes.txt").write_text("cat\ndog\nscripts\n")
    assert _read(tmp_path).class_names == ("cat", "dog", "scripts")
