"""MVTec AD: photos without a defect, and defects with masks."""

import numpy as np
import pytest
from PIL import Image

from tag2mask.errors import DataError
from tag2mask.formats.mvtec import is_mvtec, read_mvtec


def _image(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(path)


def test_defects_and_good_photos(tmp_path):
    for name in ("train/good/0.png", "test/good/0.png", "test/crack/0.png", "test/hole/0.png"):
        _image(tmp_path / name, [[0, 9]])
    _image(tmp_path / "test/crack/1.png", [[0, 9]])
    _image(tmp_path / "ground_truth/crack/0_mask.png", [[0, 255]])
    _image(tmp_path / "ground_truth/hole/0.png", [[255, 0]])
    assert is_mvtec(tmp_path)
    found = {photo.file_name: photo for photo in read_mvtec(tmp_path)}
    assert {name: (photo.split, photo.tags) for name, photo in found.items()} == {
        "train/good/0.png": ("train", ()),
        "test/good/0.png": ("test", ()),
        "test/crack/0.png": ("test", ("crack",)),
        "test/crack/1.png": ("test", ("crack",)),
        "test/hole/0.png": ("test", ("hole",)),
    }
    [crack] = found["test/crack/0.png"].regions
    assert crack.label == "crack" and crack.mask().tolist() == [[False, True]]
    assert found["test/hole/0.png"].regions[0].mask().tolist() == [[True, False]]
    assert found["test/crack/1.png"].regions == ()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train/good", "test/crack"], True),
        (["train/OK", "test/crack", "test/ok"], True),
        (["train/good", "train/crack", "test/crack", "ground_truth/crack"], True),
        (["train/good", "train/crack", "test/crack", "test/good"], False),
        (["train/good", "test/good"], False),
        (["train/cat", "test/cat"], False),
        ([], False),
    ],
)
def test_what_is_recognized(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).mkdir(parents=True)
    assert is_mvtec(tmp_path) == expected


def test_no_photos(tmp_path):
    with pytest.raises(DataError, match="no photos in train/ and test/"):
        read_mvtec(tmp_path)
