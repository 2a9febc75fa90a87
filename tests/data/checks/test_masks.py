"""Masks that show nothing, that lie on their side, or that are not read, are reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_folders import write_array, write_data, write_photo, write_tag_table
from PIL import Image

from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.layouts.detect import read_inventory
from tag2mask.data.prepare.measure import measure_photos


def warnings_of(root: Path) -> list[str]:
    """The warnings of the masks, which the data check and the step ``prepare`` both give."""
    _, _, problems = measure_photos(read_inventory(root), None)
    assert all(problem.warning for problem in problems)
    measured = [problem.message for problem in problems]
    assert set(measured) <= set(check_data(root).warnings)
    return measured


def mask(value: int) -> np.ndarray:
    values = np.zeros((6, 8), np.uint8)
    values[2:4, 2:4] = value
    return values


@pytest.mark.parametrize(
    ("classes", "advice"),
    [
        ("dog", "write 1, 2, ... for the classes; if it is 'dog' here, write 1"),
        ("dog cat", "write 1, 2, ... for the classes"),
    ],
)
def test_masks_of_0_and_255(tmp_path: Path, classes: str, advice: str) -> None:
    root = write_data(tmp_path, "a,dog,train\nb,,train\n", classes, "a b")
    write_array(root / "masks/a.png", mask(255))
    write_array(root / "masks/b.png", mask(255))  # untagged: no class is missing
    (warning,) = warnings_of(root)
    assert "have 255 but no class (photo 'a' [" in warning
    assert warning.endswith(advice)


def test_masks_of_tagged_photos_that_are_zero(tmp_path: Path) -> None:
    root = write_data(tmp_path, "a,dog,train\nb,,train\nc,dog,train\n", photos="a b c")
    for name, value in (("a", 0), ("b", 0), ("c", 1)):
        write_array(root / f"masks/{name}.png", mask(value))
    (warning,) = warnings_of(root)
    assert "are 0 (background) everywhere (photo 'a' [tags.csv line 2])" in warning
    assert "remove masks that are not drawn yet" in warning


def test_class_names_with_braces_are_text(tmp_path: Path) -> None:
    root = write_data(tmp_path, "a,d{o}g,train\nb,,train\n", photos="a b")
    write_array(root / "masks/a.png", mask(255))
    (warning,) = warnings_of(root)
    assert "if it is 'd{o}g' here, write 1" in warning


def test_arrays_among_the_masks_are_named(tmp_path: Path) -> None:
    root = write_data(tmp_path, "a,dog,train\nb,,train\n", photos="a b")
    write_array(root / "masks/b.png", mask(0))
    (root / "masks/README.txt").write_text("made by hand")
    assert warnings_of(root) == []
    np.save(root / "masks/a.npy", mask(1))
    (warning,) = warnings_of(root)
    assert "1 file in the folder of masks not used, since only images are: masks/a.npy" in warning
    assert "one-channel PNGs" in warning


def test_a_table_that_names_an_array(tmp_path: Path) -> None:
    root = write_tag_table(tmp_path, "image,tags,mask\na.jpg,dog,masks/a.npy\nb.jpg,,\n")
    for name in "ab":
        write_photo(root / f"{name}.jpg")
    (root / "masks").mkdir()
    np.save(root / "masks/a.npy", mask(1))
    (error,) = check_data(root).errors
    assert "mask 'masks/a.npy' of photo 'a' is not an image; save it as a one-channel PNG" in error


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_a_mask_of_the_stored_pixels_of_a_turned_photo(tmp_path: Path, suffix: str) -> None:
    root = write_data(tmp_path, "a,dog,train\nb,,train\n", photos="b")
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(np.full((6, 8, 3), 90, np.uint8))
    if suffix == "tif":
        stored.save(root / "a.tif", tiffinfo={0x0112: 6})
    else:
        stored.save(root / "a.jpg", exif=exif)
    write_array(root / "masks/a.png", mask(1))
    (error,) = check_data(root).errors
    assert "mask 8x6, photo 6x8 px" in error
    assert "turned clockwise by 90° (EXIF orientation 6): turn the mask the same way" in error
    write_array(root / "masks/a.png", mask(1)[:3])  # of another size in any case
    (error,) = check_data(root).errors
    assert error.endswith("replace one of the two")
    write_array(root / "masks/a.png", np.rot90(mask(1), -1))
    assert check_data(root).problems == ()
