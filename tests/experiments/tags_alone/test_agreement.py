"""Common masks of several folders: labels where they agree, 255 elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.experiments.tags_alone.agreement import agree, write_agreement

from tag2mask.artifacts.handles import PseudoMaskFolder, made_by
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.classes import ClassSet
from tag2mask.data.masks import read_mask, write_mask
from tag2mask.errors import DataError
from tag2mask.steps.photo_loops.per_photo import check_masks_as_written

CLASSES = ClassSet(("cat", "dog"))
ONE = np.array([[0, 1, 2, 255]], np.uint8)
OTHER = np.array([[0, 1, 1, 255]], np.uint8)


def masks(out: Path, names: ClassSet = CLASSES, **by_photo: np.ndarray) -> Path:
    with step_folder(PseudoMaskFolder, out, section={"made by": out.name}) as step:
        for photo, mask in by_photo.items():
            write_mask(out / "masks" / f"{photo}.png", mask, names.colors)
        step.finish(metrics={"classes": list(names.names)})
    return out


def test_labels_that_differ_are_ignored() -> None:
    assert agree([ONE, OTHER]).tolist() == [[0, 1, 255, 255]]
    assert agree([ONE, ONE, OTHER]).tolist() == [[0, 1, 255, 255]]
    assert agree([ONE, ONE]).tolist() == ONE.tolist()


def test_folder_has_the_common_masks_and_is_complete(tmp_path: Path) -> None:
    one = masks(tmp_path / "one", a=ONE, b=np.array([[0, 0]], np.uint8))
    other = masks(tmp_path / "other", a=OTHER, b=np.array([[0, 2]], np.uint8))
    shares = write_agreement(tmp_path / "out", [one, other])
    # 3 of 6 pixels agree (a: 0, 1; b: 0); objects are a: 1, 2 and b: 2, of which a: 1 agrees.
    assert shares == pytest.approx((3 / 6, 1 / 3))
    found = PseudoMaskFolder.open(tmp_path / "out")
    assert read_mask(found.path / "masks/a.png", 2).tolist() == [[0, 1, 255, 255]]
    assert read_mask(found.path / "masks/b.png", 2).tolist() == [[0, 255]]
    assert made_by(found) == "model:agreement" and found.manifest.counts == {"photos": 2}
    check_masks_as_written(found)
    before = (found.path / "masks/a.png").stat().st_mtime_ns
    assert write_agreement(tmp_path / "out", [one, other]) == shares
    assert (found.path / "masks/a.png").stat().st_mtime_ns == before


def test_masks_of_other_photos_or_classes_are_refused(tmp_path: Path) -> None:
    one = masks(tmp_path / "one", a=ONE)
    for other in (
        masks(tmp_path / "photos", b=ONE),
        masks(tmp_path / "classes", ClassSet(("cat", "cow")), a=ONE),
        masks(tmp_path / "sizes", a=ONE[:, :2]),
    ):
        with pytest.raises(DataError, match=r"different"):
            write_agreement(tmp_path / f"{other.name}-out", [one, other])
