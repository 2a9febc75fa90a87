"""Layout voc: lists, photos, masks and the three sources of tags."""

from pathlib import Path

import numpy as np
import pytest
from data_folders import annotation_xml, label_vector, write_array, write_labels, write_photo

from tag2mask.classes import VOC_NAMES
from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.voc.reader import is_voc, read_voc
from tag2mask.errors import DataError


def _voc(root: Path, *, tags: str = "annotations") -> Path:
    """Write photos a (dog, person) and b (no tag) for training, c (cat) for validation."""
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\n")
    own = {"a": ("dog", "person"), "b": (), "c": ("cat",)}
    for id in own:
        write_photo(root / f"JPEGImages/{id}.jpg")
    if tags == "annotations":
        (root / "Annotations").mkdir()
        for id, names in own.items():
            (root / f"Annotations/{id}.xml").write_text(annotation_xml(*names))
    elif tags == "tags.csv":
        rows = "".join(f"{id},{' '.join(names)}\n" for id, names in own.items())
        (root / "tags.csv").write_text("id,tags\n" + rows)
    elif tags == "cls_labels":
        write_labels(root, {id: label_vector(*names) for id, names in own.items()})
    return root


@pytest.mark.parametrize("tags", ["annotations", "tags.csv", "cls_labels"])
def test_every_source_gives_the_same_tags(tmp_path, tags):
    found = read_voc(_voc(tmp_path, tags=tags), SourceOptions())
    assert found.problems == () and found.class_names == VOC_NAMES
    assert [(e.id, e.split, set(e.tags)) for e in found.entries] == [
        ("a", "train", {"dog", "person"}),
        ("b", "train", set()),
        ("c", "val", {"cat"}),
    ]


def test_the_users_table_wins_by_default(tmp_path):
    root = _voc(tmp_path)
    (root / "tags.csv").write_text("id,tags\na,bird\nb,bird\nc,bird\n")
    assert read_voc(root, SourceOptions()).entries[0].tags == ("bird",)
    chosen = read_voc(root, SourceOptions(tags="annotations"))
    assert chosen.entries[0].tags == ("dog", "person")


@pytest.mark.parametrize("above", ["", "VOCdevkit/VOC2012", "VOC2012"])
def test_devkit_and_bare_layouts_are_found(tmp_path, above):
    _voc(tmp_path / above)
    assert is_voc(tmp_path)
    assert len(read_voc(tmp_path, SourceOptions()).entries) == 3


def test_masks_of_both_folders_and_of_psa_lists(tmp_path):
    root = _voc(tmp_path)
    write_photo(root / "SegmentationClass/a.png")
    write_photo(root / "SegmentationClassAug/a.png")
    write_photo(root / "SegmentationClassAug/b.png")
    masks = {e.id: e.mask for e in read_voc(root, SourceOptions()).entries}
    assert masks == {"a": "SegmentationClass/a.png", "b": "SegmentationClassAug/b.png", "c": None}
    (root / "aug.txt").write_text(
        "/JPEGImages/a.jpg /SegmentationClassAug/a.png\n"
        "/JPEGImages/c.jpg /SegmentationClassAug/c.png\n"
    )
    found = read_voc(root, SourceOptions(train_split="aug.txt", val_split=None))
    assert [(e.id, e.mask) for e in found.entries] == [
        ("a", "SegmentationClassAug/a.png"),
        ("c", None),
    ]
    [problem] = found.problems
    assert problem.warning and "SegmentationClassAug/c.png" in problem.message


def test_any_split_list(tmp_path):
    root = _voc(tmp_path)
    (root / "ImageSets/Segmentation/mine.txt").write_text("/JPEGImages/c.jpg\na\n")
    found = read_voc(root, SourceOptions(train_split="mine", val_split=None))
    assert [(e.id, e.split) for e in found.entries] == [("c", "train"), ("a", "train")]
    with pytest.raises(DataError, match="'trian'; did you mean 'train'"):
        read_voc(root, SourceOptions(train_split="trian"))
    with pytest.raises(DataError, match=r"no list of ids 'gone\.txt'"):
        read_voc(root, SourceOptions(val_split="gone.txt"))
    (root / "ImageSets/Segmentation/val.txt").unlink()
    assert len(read_voc(root, SourceOptions()).entries) == 2


def test_no_split_list_at_all(tmp_path):
    root = _voc(tmp_path)
    for path in (root / "ImageSets/Segmentation").iterdir():
        path.unlink()
    with pytest.raises(
        DataError,
        match=r"no split list 'train'.*There is none in ImageSets: write "
        r"train\.txt there, one id per line",
    ):
        read_voc(root, SourceOptions())


def test_problems_of_lists_photos_and_tags_are_all_named(tmp_path):
    root = _voc(tmp_path, tags="tags.csv")
    (root / "tags.csv").write_text("id,tags\na,dog\nJPEGImages/a,cat\nghost,dog\nc,cat\n")
    (root / "ImageSets/Segmentation/train.txt").write_text("a\nb\ngone\n../../x\n/etc/x\n")
    messages = [p.message for p in read_voc(root, SourceOptions()).problems]
    for part in (
        "line 3: id 'a' is listed twice",
        "photo 'b' (train.txt line 2)",
        "photo 'gone' does not exist",
        "tags of 'ghost'",
        "'../../x' leads out",
        "'/etc/x' is absolute",
    ):
        assert any(part in message for message in messages), (part, messages)
    assert len(messages) == 6


def test_a_published_label_file_may_list_more_photos(tmp_path):
    root = _voc(tmp_path, tags="cls_labels")
    write_labels(root, {id: label_vector("dog") for id in ("a", "b", "c", "d")})
    [problem] = read_voc(root, SourceOptions()).problems
    assert problem.warning and "1 photo that doesn't exist" in problem.message


def test_own_classes_background_first_or_left_out(tmp_path):
    root = _voc(tmp_path)
    (root / "classes.txt").write_text("background\nperson\ndog\ncat\n")
    assert read_voc(root, SourceOptions()).class_names == ("person", "dog", "cat")


def _own_names(root: Path) -> Path:
    for name, tag in (("a", "widget"), ("b", "gadget")):
        write_photo(root / f"JPEGImages/{name}.jpg")
        (root / "Annotations").mkdir(exist_ok=True)
        (root / f"Annotations/{name}.xml").write_text(annotation_xml(tag))
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text("a\nb\n")
    return root


def test_classes_of_a_label_map(tmp_path):
    lines = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nwidget:1,2,3::\ngadget:4,5,6::\n"
    (_own_names(tmp_path) / "labelmap.txt").write_text(lines)
    found = read_voc(tmp_path, SourceOptions())
    assert found.class_names == ("widget", "gadget") and found.problems == ()
    assert found.class_list == "labelmap.txt"
    (tmp_path / "classes.txt").write_text("gadget\nwidget\n")
    assert read_voc(tmp_path, SourceOptions()).class_names == ("gadget", "widget")


def test_own_classes_without_a_list(tmp_path):
    found = read_voc(_own_names(tmp_path), SourceOptions())
    assert found.class_names == ("gadget", "widget") and found.names_from_tags
    write_photo(tmp_path / "SegmentationClass/a.png")  # the order of the classes is not known
    assert read_voc(tmp_path, SourceOptions()).class_names == VOC_NAMES
    unknown = [p for p in check_data(tmp_path).errors if "unknown tag 'gadget'" in p]
    assert "add it to a classes.txt" in unknown[0]


def test_missing_and_damaged_annotations_are_named(tmp_path):
    root = _voc(tmp_path)
    (root / "Annotations/a.xml").unlink()
    (root / "Annotations/b.xml").write_text("<annotation><object>")
    messages = [p.message for p in read_voc(root, SourceOptions()).problems]
    assert "no annotation" in messages[0] and "'a'" in messages[0]
    assert "Annotations/b.xml can't be read" in messages[1]
    with pytest.raises(DataError, match=r"no cls_labels\.npy found"):
        read_voc(root, SourceOptions(tags="cls_labels"))


@pytest.mark.parametrize(
    "nameless",
    [
        "<object><part><name>head</name></part></object>",
        "<object/>",
        "<object><name> </name></object>",
    ],
)
def test_an_object_without_a_name_is_not_the_background(tmp_path, nameless):
    root = _voc(tmp_path)
    text = f"<annotation><object><name>dog</name></object>{nameless}</annotation>"
    (root / "Annotations/a.xml").write_text(text)
    [problem] = read_voc(root, SourceOptions()).problems
    assert "Annotations/a.xml can't be read: object 2 has no name" in problem.message
    assert problem.photo == "a" and not problem.warning


def test_shared_voc_folder(shared):
    found = read_voc(shared / "voc12", SourceOptions())
    splits = [e.split for e in found.entries]
    assert found.problems == () and found.class_names == VOC_NAMES
    assert (splits.count("train"), splits.count("val")) == (849, 300)
    assert all(e.mask and e.tags for e in found.entries)


def test_cvats_color_coded_masks_and_list_of_photos_without_split(tmp_path):
    for name in ("a", "b"):
        write_photo(tmp_path / f"JPEGImages/{name}.jpg", (4, 1))
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/default.txt").write_text("a\nb\n")
    lines = ["background:0,0,0::", "cat:9,8,7::", "ignore:1,1,1::", "dog:1,2,3::"]
    (tmp_path / "labelmap.txt").write_text("\n".join(["# label:color_rgb:parts:actions", *lines]))
    (tmp_path / "tags.csv").write_text("id,tags\na,dog cat\nb,\n")
    colors = [[[1, 2, 3], [9, 8, 7], [1, 1, 1], [0, 0, 0]]]
    write_array(tmp_path / "SegmentationClass/a.png", np.array(colors, np.uint8))
    write_array(tmp_path / "SegmentationClass/b.png", np.array([[[5, 5, 5]] * 4], np.uint8))
    found = read_voc(tmp_path, SourceOptions())
    assert found.class_names == ("cat", "dog")
    assert [(e.id, e.split, bool(e.mask_stamp)) for e in found.entries] == [
        ("a", "train", True),
        ("b", "train", True),
    ]
    assert found.mask_drawer.draw("a", (1, 4)).tolist() == [[2, 1, 255, 0]]
    [error] = check_data(tmp_path).errors
    assert "mask of photo 'b'" in error and "color (5, 5, 5) of no label" in error
