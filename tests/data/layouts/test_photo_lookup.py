"""Photos whose written name differs from that of the file."""

import unicodedata

import pytest
from data_folders import coco_annotation, write_coco, write_photo, write_tag_table

from tag2mask.artifacts.manifest import STARTED, Identity
from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.coco.reader import read_coco
from tag2mask.data.layouts.csv_table import read_csv
from tag2mask.data.layouts.voc.reader import read_voc
from tag2mask.errors import DataError
from tag2mask.files.json_file import write_json

_NFC, _NFD = (unicodedata.normalize(form, "M\u00fcller 1.jpg") for form in ("NFC", "NFD"))


def _table(root, written, *files):
    for file in files:
        write_photo(root / file)
    return read_csv(write_tag_table(root, f"image,tags\n{written},dog\n"), SourceOptions())


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("a.jpg", "a.JPG"),
        ("A.JPG", "images/a.jpg"),
        ("a", "a.jpg"),
        ("a.jpg", "photos/a.JPEG"),
        ("a.tif", "a.tiff"),
        ("a", "photos/a.png"),
        (_NFC, _NFD),
        (_NFD, _NFC),
        ("./a.jpg", "a.jpg"),
        ("street\\a.jpg", "street/a.jpg"),
        ("a.jpg", "imgs/a.jpg"),
        ("a.jpg", "data/a.jpg"),
        ("a.jpg", "train_images/a.jpg"),
    ],
)
def test_a_name_that_means_exactly_one_file(tmp_path, written, file):
    found = _table(tmp_path, written, file)
    assert [entry.image for entry in found.entries] == [file]
    assert found.problems == ()


def test_guesses_are_told(tmp_path):
    assert _table(tmp_path / "a", "a.jpg", "a.jpg").remarks == ()
    remarks = _table(tmp_path / "b", "a.jpg", "a.JPG").remarks
    assert remarks == ("1 photo is found by a similar name: a.jpg is a.JPG",)


def test_the_exact_name_comes_first(tmp_path):
    found = _table(tmp_path, "a.jpg", "a.JPG", "images/a.jpg", "a.png")
    assert found.entries[0].image == "images/a.jpg"


def test_several_files_by_a_similar_name(tmp_path):
    found = _table(tmp_path, "a.jpg", "a.JPG", "a.jpeg")
    assert "matches several photos (a.JPG, a.jpeg)" in found.problems[0].message


@pytest.mark.parametrize(
    ("written", "file", "message"),
    [
        ("x/0.jpg", "0.jpg", "in the data folder, named in tags.csv line 2); there is 0.jpg: corr"),
        ("0.jpg", "00000.jpg", "there is 00000.jpg, whose leading zeros a spreadsheet may have"),
        ("img_7.png", "images/img_007.jpg", "there is images/img_007.jpg, whose leading zeros"),
        ("b.jpg", "b.png", "there is b.png: correct the name"),
        ("0.jpg", "1.jpg", "put the photo there or remove its line"),
        (".hidden.jpg", ".hidden.jpg", "is hidden, since '.hidden.jpg' begins with a dot"),
        ("@eaDir/a.jpg", "@eaDir/a.jpg", "is in '@eaDir', a system folder"),
        ("masks/a.jpg", "masks/a.jpg", "is in masks/, which has masks"),
    ],
)
def test_missing_photos_name_similar_files(tmp_path, written, file, message):
    found = _table(tmp_path, written, file)
    assert found.entries[0].image is None
    [problem] = [p for p in found.problems if not p.warning]
    assert message in problem.message and problem.photo == found.entries[0].id
    assert "link to a folder above" not in problem.message


def test_a_photo_in_a_folder_that_a_step_wrote(tmp_path):
    (tmp_path / "out").mkdir()
    record = Identity(step="predict", section={}, identity="a", fingerprint="b", started="now")
    write_json(tmp_path / "out" / STARTED, record.model_dump(mode="json"))
    [problem] = _table(tmp_path, "out/a.jpg", "out/a.jpg").problems
    assert "is in a folder that tag2mask wrote" in problem.message


def _rows(root, name="tags.csv"):
    rows = "".join(f"{photo}.jpg,{tag}\n" for photo, tag in (("a", "dog"), ("b", "cat")))
    return read_csv(write_tag_table(root, f"image,tags\n{rows}", name), SourceOptions())


def test_photos_in_folders_that_the_table_does_not_name(tmp_path):
    for path in ("images_001/images/a.jpg", "images_002/images/b.jpg", "more/c.jpg"):
        write_photo(tmp_path / path)
    found = _rows(tmp_path)
    images = [entry.image for entry in found.entries]
    assert images == ["images_001/images/a.jpg", "images_002/images/b.jpg"]
    assert found.remarks == ("photos are looked for in images_001/images/, images_002/images/",)


def test_photos_in_one_of_several_folders_are_not_guessed(tmp_path):
    for path in ("one/a.jpg", "one/b.jpg", "two/a.jpg"):
        write_photo(tmp_path / path)
    with pytest.raises(
        DataError, match=r"exists: .a., .b.; there is one/a\.jpg, two/a\.jpg "
    ) as error:
        _rows(tmp_path, "labels.csv")
    assert "below the data folder into a column `image`" in str(error.value)
    write_photo(tmp_path / "b.jpg")
    assert "there is one/a.jpg, two/a.jpg" in _rows(tmp_path).problems[0].message


def test_a_photo_elsewhere_is_not_taken_beside_photos_in_their_place(tmp_path):
    write_photo(tmp_path / "images/a.jpg")
    write_photo(tmp_path / "backup/b.jpg")
    assert [entry.image for entry in _rows(tmp_path).entries] == ["images/a.jpg", None]


def test_folders_named_after_the_split_of_a_table(tmp_path):
    for path in ("train_images/a.jpg", "train_images/b.jpg", "test_images/a.jpg"):
        write_photo(tmp_path / path)
    found = _rows(tmp_path, "train.csv")
    assert [entry.image for entry in found.entries] == ["train_images/a.jpg", "train_images/b.jpg"]


def test_photos_in_the_folder_of_their_split(tmp_path):
    for split in ("train", "val"):
        write_photo(tmp_path / split / "a.jpg")
        write_photo(tmp_path / split / f"{split}.jpg")
    text = "image,tags,split\ntrain.jpg,dog,train\nval.jpg,dog,val\n"
    found = read_csv(write_tag_table(tmp_path, text), SourceOptions())
    assert [entry.image for entry in found.entries] == ["train/train.jpg", "val/val.jpg"]


@pytest.mark.parametrize(
    "name", ["../../media/upload/1/a.jpg", "C:\\data\\a.jpg", "/home/me/a.jpg"]
)
def test_paths_on_another_machine_name_the_file_that_is_here(tmp_path, name):
    write_coco(tmp_path, "train", {1: name}, [coco_annotation(1, 7, [])], photos=False)
    write_photo(tmp_path / "images/a.jpg")
    found = read_coco(tmp_path, SourceOptions())
    assert [entry.image for entry in found.entries] == ["images/a.jpg"] and not found.problems
    write_photo(tmp_path / "old/a.jpg")
    [problem] = read_coco(tmp_path, SourceOptions()).problems
    fix = "there is images/a.jpg, old/a.jpg: correct the name, or remove its line"
    assert problem.message.endswith(fix)


def test_photos_of_coco_and_voc(tmp_path):
    write_coco(tmp_path, "train", {1: "a.jpg"}, [coco_annotation(1, 7, [])], photos=False)
    write_photo(tmp_path / "images/a.JPG")
    found = read_coco(tmp_path, SourceOptions())
    assert [entry.image for entry in found.entries] == ["images/a.JPG"]
    write_photo(tmp_path / "JPEGImages/B.jpg")
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text("b\n")
    write_tag_table(tmp_path, "id,tags\nb,dog\n")
    found = read_voc(tmp_path, SourceOptions())
    assert [entry.image for entry in found.entries] == ["JPEGImages/B.jpg"]
