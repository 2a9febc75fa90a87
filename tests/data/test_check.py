import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tag2mask.data.check import check_data


def _photo(path: Path, size=(8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).save(path)


def _mask(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def _data(root: Path, rows: str, classes: str | None = None, photos: str = "") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "tags.csv").write_text("id,tags,split\n" + rows)
    if classes is not None:
        (root / "classes.txt").write_text("\n".join(classes.split()))
    for name in photos.split():
        _photo(root / f"{name}.jpg")
    return root


def test_counts(tmp_path):
    root = _data(tmp_path, "a,dog cat,train\nb,dog,train\nc,,train\nd,cat dog,val\n",
                 photos="a b c")
    _photo(root / "d.jpg", (20, 10))
    _mask(root / "masks/d.png", np.zeros((10, 20), np.uint8))
    report = check_data(root)
    assert report.problems == () and report.layout == "csv"
    assert report.class_names == ("cat", "dog")
    assert report.photos == {"train": 3, "val": 1} and report.untagged == 1
    assert report.tag_counts.tolist() == [[1, 2], [1, 1]]
    assert report.cooccurrence.tolist() == [[2, 2], [2, 3]]
    assert report.pairs == (("cat", "dog", 2),)
    assert report.sizes == ((6, 8), (6, 8), (10, 20)) and report.masks == 1


@settings(max_examples=20, deadline=None)
@given(tags=st.lists(st.sets(st.sampled_from("pqrs")), min_size=1, max_size=6))
def test_cooccurrence_is_the_product_of_the_tags(tmp_path_factory, tags):
    root = tmp_path_factory.mktemp("data")
    _data(root, "".join(f"x{i},{' '.join(t)},train\n" for i, t in enumerate(tags)), "p q r s",
          " ".join(f"x{i}" for i in range(len(tags))))
    report = check_data(root, decode=False)
    present = np.array([[name in t for name in "pqrs"] for t in tags], np.int64)
    assert np.array_equal(report.cooccurrence, present.T @ present)
    assert np.array_equal(report.tag_counts[0], present.sum(0))


def test_all_problems_at_once(tmp_path):
    root = _data(tmp_path / "data", "a,dgo,train\nb,dog,train\nb,dog,train\nmissing,cat,train\n"
                 "../x,dog,train\nbroken,dog,train\ncut,dog,val\ncolour,dog,train\n"
                 "small,dog,train\nvalues,dog,train\n", "dog cat bird",
                 "a b colour small values")
    (root / "broken.jpg").write_text("no photo")
    _photo(root / "whole.jpg", (64, 64))
    (root / "cut.jpg").write_bytes((root / "whole.jpg").read_bytes()[:-900])
    (root / "whole.jpg").unlink()
    _mask(root / "masks/colour.png", np.zeros((6, 8, 3), np.uint8))
    _mask(root / "masks/small.png", np.zeros((3, 4), np.uint8))
    _mask(root / "masks/values.png", np.full((6, 8), 77, np.uint8))
    report = check_data(root)
    errors = " | ".join(report.errors)
    for part in ("unknown tag 'dgo'; did you mean 'dog'", "tags.csv line 2", "id 'b' stands twice",
                 "photo 'missing' does not exist", "'../x' leads out", "photo 'broken'",
                 "photo 'cut'", "photo 'colour': mask is colour-coded",
                 "photo 'small' has another size: mask 4x3, photo 8x6",
                 "photo 'values': mask holds 77"):
        assert part in errors, part
    assert len(report.errors) == 9
    assert report.warnings == ("class 'bird' has no training photo",)
    headers = check_data(root, decode=False)
    assert "photo 'cut'" not in " | ".join(headers.errors)


def test_a_slip_in_a_tag_is_a_doubt_where_no_list_names_the_classes(tmp_path):
    rows = "".join(f"a{i},elephant,train\n" for i in range(3)) + "b,elepant,train\nc,bus,train\n"
    photos = "a0 a1 a2 b c"
    [warning] = check_data(_data(tmp_path / "x", rows, photos=photos)).warnings
    assert "'elepant' of photo 'b' [tags.csv line 5]" in warning and "'elephant'" in warning
    listed = check_data(_data(tmp_path / "y", rows, "elephant elepant bus", photos))
    assert listed.problems == ()


@pytest.mark.parametrize(("rows", "classes", "says"), [
    ("a,,train\n", None, "nothing to learn"),
    ("a,,train\n", "dog", "nothing to learn"),
    ("a,dog,test\n", None, "no photo for training; splits found: test"),
    ("", None, "no photo for training"),
    ("a,background,train\n", None, "'background' is not allowed"),
    ("a,dog,train\n", "dog dog", "listed twice"),
])
def test_data_that_cannot_be_learned_from(tmp_path, rows, classes, says):
    errors = check_data(_data(tmp_path, rows, classes, "a")).errors
    assert any(says in error for error in errors), errors


def test_too_many_classes(tmp_path):
    names = " ".join(f"c{i}" for i in range(255))
    report = check_data(_data(tmp_path, f"a,{names},train\n", photos="a"))
    assert any("255 classes" in error for error in report.errors)
    names = " ".join(f"c{i}" for i in range(254))
    assert check_data(_data(tmp_path, f"a,{names},train\n", photos="a")).errors == ()


def test_a_photo_in_both_splits(tmp_path):
    root = _data(tmp_path, "a,dog,train\nb,dog,train\n", photos="a b")
    (root / "ImageSets").mkdir()
    shutil.move(root / "a.jpg", root / "ImageSets/a.jpg")
    (root / "JPEGImages").mkdir()
    for name in ("ImageSets/a.jpg", "b.jpg"):
        shutil.move(root / name, root / "JPEGImages" / Path(name).name)
    (root / "ImageSets/train.txt").write_text("a\nb\n")
    (root / "ImageSets/val.txt").write_text("b\n")
    errors = check_data(root).errors
    assert any("'b' is in both splits" in error for error in errors)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_photo_that_may_not_be_read(tmp_path):
    root = _data(tmp_path, "a,dog,train\n", photos="a")
    (root / "a.jpg").chmod(0)
    assert "permission" in check_data(root).errors[0]


def test_progress_counts_every_photo(tmp_path):
    seen: list[tuple[int, int]] = []
    check_data(_data(tmp_path, "a,dog,train\nb,dog,train\n"),
               progress=lambda done, all: seen.append((done, all)))
    assert seen == [(1, 2), (2, 2)]


def test_shared_voc_folder(shared):
    report = check_data(shared / "voc12", decode=False)
    assert report.problems == () and report.photos == {"train": 849, "val": 300}
    assert report.masks == 1149 and report.sizes[-1] == (500, 500)
