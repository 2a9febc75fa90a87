import os
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tag2mask.classes import VOC_NAMES
from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.cls_labels import read_cls_labels
from tag2mask.data.layouts.voc import is_voc, read_voc
from tag2mask.data.layouts.voc_tags import object_names
from tag2mask.errors import DataError


def _photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3)).save(path)


def _xml(*names: str) -> str:
    objects = "".join(
        f"<object><name>{n}</name><difficult>1</difficult><part><name>head</name></part></object>"
        for n in names
    )
    return f"<annotation><filename>x.jpg</filename>{objects}</annotation>"


def _voc(root: Path, *, tags: str = "annotations") -> Path:
    """Photos a (dog, person) and b (nothing) for training, c (cat) for validation."""
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\n")
    own = {"a": ("dog", "person"), "b": (), "c": ("cat",)}
    for id in own:
        _photo(root / f"JPEGImages/{id}.jpg")
    if tags == "annotations":
        (root / "Annotations").mkdir()
        for id, names in own.items():
            (root / f"Annotations/{id}.xml").write_text(_xml(*names))
    elif tags == "tags.csv":
        rows = "".join(f"{id},{' '.join(names)}\n" for id, names in own.items())
        (root / "tags.csv").write_text("id,tags\n" + rows)
    elif tags == "cls_labels":
        _labels(root, {id: _vector(*names) for id, names in own.items()})
    return root


def _vector(*names: str) -> np.ndarray:
    return np.array([name in names for name in VOC_NAMES], np.float32)


def _labels(root: Path, values: object) -> Path:
    np.save(root / "cls_labels.npy", values, allow_pickle=True)  # as psa writes it
    return root / "cls_labels.npy"


@pytest.mark.parametrize("tags", ["annotations", "tags.csv", "cls_labels"])
def test_every_source_of_tags_says_the_same(tmp_path, tags):
    found = read_voc(_voc(tmp_path, tags=tags), SourceOptions())
    assert found.problems == () and found.class_names == VOC_NAMES
    assert [(e.id, e.split, set(e.tags)) for e in found.entries] == [
        ("a", "train", {"dog", "person"}),
        ("b", "train", set()),
        ("c", "val", {"cat"}),
    ]


def test_the_users_table_wins_unless_told_otherwise(tmp_path):
    root = _voc(tmp_path)
    (root / "tags.csv").write_text("id,tags\na,bird\nb,bird\nc,bird\n")
    assert read_voc(root, SourceOptions()).entries[0].tags == ("bird",)
    told = read_voc(root, SourceOptions(tags="annotations"))
    assert told.entries[0].tags == ("dog", "person")


@pytest.mark.parametrize("above", ["", "VOCdevkit/VOC2012", "VOC2012"])
def test_devkit_and_bare_layouts_are_found(tmp_path, above):
    _voc(tmp_path / above)
    assert is_voc(tmp_path)
    assert len(read_voc(tmp_path, SourceOptions()).entries) == 3


def test_masks_of_both_folders_and_of_psa_lists(tmp_path):
    root = _voc(tmp_path)
    _photo(root / "SegmentationClass/a.png")
    _photo(root / "SegmentationClassAug/a.png")
    _photo(root / "SegmentationClassAug/b.png")
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
    (root / "tags.csv").write_text("id,tags\na,dog\na,cat\nghost,dog\nc,cat\n")
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


def test_a_published_label_file_may_name_more_photos(tmp_path):
    root = _voc(tmp_path, tags="cls_labels")
    _labels(root, {id: _vector("dog") for id in ("a", "b", "c", "d")})
    [problem] = read_voc(root, SourceOptions()).problems
    assert problem.warning and "1 photos" in problem.message


def test_own_classes_background_first_or_left_out(tmp_path):
    root = _voc(tmp_path)
    (root / "classes.txt").write_text("background\nperson\ndog\ncat\n")
    assert read_voc(root, SourceOptions()).class_names == ("person", "dog", "cat")


def test_missing_and_damaged_annotations_are_named(tmp_path):
    root = _voc(tmp_path)
    (root / "Annotations/a.xml").unlink()
    (root / "Annotations/b.xml").write_text("<annotation><object>")
    messages = [p.message for p in read_voc(root, SourceOptions()).problems]
    assert "no annotation" in messages[0] and "'a'" in messages[0]
    assert "Annotations/b.xml can't be read" in messages[1]
    with pytest.raises(DataError, match=r"no cls_labels\.npy found"):
        read_voc(root, SourceOptions(tags="cls_labels"))


def test_object_names_count_objects_not_their_parts():
    assert object_names(_xml("dog", "person", "dog").encode()) == ("dog", "person")
    assert object_names(b"<annotation/>") == ()


@pytest.mark.parametrize(
    "nameless",
    [
        "<object><part><name>head</name></part></object>",
        "<object/>",
        "<object><name> </name></object>",
    ],
)
def test_an_object_without_a_name_is_no_background(tmp_path, nameless):
    root = _voc(tmp_path)
    text = f"<annotation><object><name>dog</name></object>{nameless}</annotation>"
    (root / "Annotations/a.xml").write_text(text)
    [problem] = read_voc(root, SourceOptions()).problems
    assert "Annotations/a.xml can't be read: object 2 has no name" in problem.message
    assert problem.photo == "a" and not problem.warning


def test_entities_are_never_expanded():
    bomb = (
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        b"<annotation><object><name>&x;</name></object></annotation>"
    )
    with pytest.raises(ValueError, match="document type"):
        object_names(bomb)


def test_integer_keys_of_irn(tmp_path):
    path = _labels(tmp_path, {2007000032: _vector("aeroplane", "person")})
    assert read_cls_labels(path, 20) == {"2007_000032": (0, 14)}


def test_old_and_new_pickles_of_arrays(tmp_path):
    for protocol in (2, 3, 4):  # numpy.save wrote 2, then 3, now 4
        path = tmp_path / f"{protocol}.npy"
        array = np.array({"a": _vector("dog"), "b": _vector("cat").astype(np.int64)}, object)
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, np.lib.format.header_data_from_array_1_0(array)
            )
            pickle.dump(array, file, protocol=protocol)
        # numpy 1 wrote the old name of the module.
        content = path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        if protocol < 4:  # newer protocols count the bytes of a name
            path.write_bytes(content)
        assert read_cls_labels(path, 20) == {"a": (11,), "b": (7,)}


class _Harmful:
    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "harm",
    [
        lambda p: _Harmful(os.system, f"touch {p}"),
        lambda p: _Harmful(eval, f"open({str(p)!r}, 'w')"),
        lambda p: _Harmful(subprocess.check_call, ["touch", str(p)]),
        lambda p: _Harmful(np.load, str(p)),
        lambda p: _Harmful(getattr, "", "join"),
    ],
)
def test_a_pickle_runs_no_code(tmp_path, harm):
    mark = tmp_path / "mark"
    path = _labels(tmp_path, {"a": harm(mark)})
    with pytest.raises(DataError, match="refused: the file asks for"):
        read_cls_labels(path, 20)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros((3, 20), np.float32), "not a dictionary"),
        ([1, 2], "not a dictionary|no dictionary"),
        ({"a": np.zeros(19)}, "20 classes need"),
        ({"a": "dog"}, "20 classes need"),
    ],
)
def test_other_arrays_are_refused(tmp_path, values, says):
    with pytest.raises(DataError, match=says):
        read_cls_labels(_labels(tmp_path, values), 20)


def test_cut_off_label_file(tmp_path):
    path = _labels(tmp_path, {"a": _vector("dog")})
    for length in (0, 5, 100, 150):
        path.write_bytes(path.read_bytes()[:length] if length else b"")
        with pytest.raises(DataError, match="not a readable"):
            read_cls_labels(path, 20)
        path = _labels(tmp_path, {"a": _vector("dog")})


def test_shared_voc_folder(shared):
    found = read_voc(shared / "voc12", SourceOptions())
    splits = [e.split for e in found.entries]
    assert found.problems == () and found.class_names == VOC_NAMES
    assert (splits.count("train"), splits.count("val")) == (849, 300)
    assert all(e.mask and e.tags for e in found.entries)
