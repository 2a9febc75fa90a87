"""YOLO: polygons are read back exactly, and each kind of line is read."""

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_cases import CLASSES, combined, known, masked_photo, masks
from PIL import Image

from tag2mask.errors import DataError, ProblemsError
from tag2mask.formats.annotations import AnnotatedPhoto
from tag2mask.formats.ultralytics.yolo import read_yolo, write_yolo, yolo_classes

NAMES = ("a.jpg", "my photo/ü 1.jpg", "x/a.png", "x/y/b.c.tif")


def _sized(photo: AnnotatedPhoto, size: tuple[int, int]) -> AnnotatedPhoto:
    return AnnotatedPhoto(photo.file_name, size, photo.split, photo.tags, photo.regions)


@settings(max_examples=25, deadline=None)
@given(drawn=st.lists(masks(), max_size=4))
def test_round_trip(tmp_path_factory, drawn):
    out = tmp_path_factory.mktemp("out")
    photos = [
        masked_photo(name, mask, "val" if index == 1 else "train")
        for index, (name, mask) in enumerate(zip(NAMES, drawn, strict=False))
    ]
    result = write_yolo(photos, CLASSES, out)
    assert result.photos == len(drawn)
    assert result.left_out_pixels == sum(int((mask == 255).sum()) for mask in drawn)
    paths = {f"images/{p.split}/{p.file_name}".rpartition(".")[0]: p for p in photos}
    read = list(read_yolo(out, lambda name: paths[name].size))
    assert yolo_classes(out) == CLASSES.names
    assert {photo.file_name for photo in read} == set(paths)
    for found in read:
        photo = paths[found.file_name]
        assert found.split == photo.split
        np.testing.assert_array_equal(combined(_sized(found, photo.size)), known(photo.mask()))


def test_the_files(tmp_path):
    mask = np.array([[0, 2], [0, 0]], np.uint8)
    empty = np.zeros((1, 1), np.uint8)
    photos = [masked_photo("x/a.jpg", mask), masked_photo("b.jpg", empty, "val")]
    write_yolo(photos, CLASSES, tmp_path)
    assert (tmp_path / "labels/train/x/a.txt").read_text() == "1 0.5 0 1 0 1 0.5 0.5 0.5\n"
    assert (tmp_path / "labels/val/b.txt").read_text() == ""
    content = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert content["names"] == dict(enumerate(CLASSES.names)) and "masks_dir" not in content


def _folder(tmp_path, text, yaml_text="names: [cat, dog]\ntrain: ../train/images\n"):
    (tmp_path / "data.yaml").write_text(yaml_text)
    for name in ("train/images", "train/labels"):
        (tmp_path / name).mkdir(parents=True)
    Image.new("RGB", (4, 2)).save(tmp_path / "train/images/a.jpg")
    (tmp_path / "train/labels/a.txt").write_text(text)


def test_lines_of_all_kinds_in_roboflow_s_folders(tmp_path):
    polygon = "0 0 0.5 0 0.5 1 0 1"
    _folder(tmp_path, f"1 {polygon}\n\n0 .5 .5 .25 .25\n0 .5 .5 1 1 0.75\n0 {polygon} 0.5\n")
    [photo] = read_yolo(tmp_path)
    assert photo.file_name == "train/images/a.jpg" and photo.split == "train"
    found = [(region.label, region.kind, region.score) for region in photo.regions]
    assert found == [
        ("dog", "polygon", None),
        ("cat", "box", None),
        ("cat", "box", 0.75),
        ("cat", "polygon", 0.5),
    ]


def test_a_polygon_is_drawn_in_the_upright_photo(tmp_path):
    _folder(tmp_path, "0 0 0 1 0 1 0.5 0 0.5\n")
    [photo] = read_yolo(tmp_path / "data.yaml")
    assert photo.regions[0].mask().tolist() == [[True] * 4, [False] * 4]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 2)).save(tmp_path / "train/images/a.jpg", exif=exif)
    assert photo.regions[0].mask().shape == (4, 2)
    (tmp_path / "train/images/a.jpg").unlink()
    with pytest.raises(DataError, match="the polygons need its size"):
        photo.regions[0].mask()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("[yes, cat]", "class 0 of `names`: true is no name"),
        ("{0: cat, 1: null}", "class 1 of `names`: null is no name"),
        ("[[cat]]", "class 0 of `names`: a list is no name"),
    ],
)
def test_names_that_are_no_texts(tmp_path, names, message):
    _folder(tmp_path, "0 .5 .5 .1 .1", f"names: {names}\ntrain: train/images\n")
    with pytest.raises(DataError, match=message):
        list(read_yolo(tmp_path))


def test_numbers_and_quoted_words_are_names(tmp_path):
    _folder(tmp_path, "0 .5 .5 .1 .1", "names: ['no', 7]\ntrain: train/images\n")
    assert yolo_classes(tmp_path) == ("no", "7")


def test_a_file_that_changes_while_it_is_read(tmp_path):
    _folder(tmp_path, "0 0 0 1 0 1 1\n")
    [photo] = read_yolo(tmp_path)
    (tmp_path / "train/labels/a.txt").write_text("")
    with pytest.raises(DataError, match="has changed while it was read"):
        photo.regions[0].mask()


def test_lines_of_key_points_are_boxes(tmp_path):
    yaml_text = "names: [cat, dog]\ntrain: train/images\nkpt_shape: [2, 3]\n"
    _folder(tmp_path, "0 .5 .5 .1 .1 .2 .2 2 .3 .3 2\n", yaml_text)
    [photo] = read_yolo(tmp_path)
    assert [region.kind for region in photo.regions] == ["box"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0 0 1 1", "not the number of a class"),
        ("cat 0 0 1 1", "not the number of a class"),
        ("0 0 0", "neither a box nor a polygon"),
        ("0 0 0 10 0 10 10", "not shares of the photo's size"),
        ("0 0 0 nan 0 1 1", "not shares"),
        ("0 0 x 1 1", "line 1"),
    ],
)
def test_damaged_lines_are_all_listed(tmp_path, line, message):
    _folder(tmp_path, line)
    (tmp_path / "train/labels/b.txt").write_text(line)
    with pytest.raises(ProblemsError) as caught:
        list(read_yolo(tmp_path))
    assert len(caught.value.problems) == 2
    assert all(message in problem for problem in caught.value.problems)
