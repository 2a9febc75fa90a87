"""Names that are not classes: the same rule in every layout."""

import pytest
from data_folders import annotation_xml, write_data, write_photo

from tag2mask.data.layouts.detect import read_inventory

_TAGS = {
    "a": ("cat",),
    "b": ("dog", "_background_"),
    "c": ("background",),
    "d": ("no_label",),
    "e": ("nan",),
    "f": ("cat", "__ignore__"),
}


def _as_table(root, tags_of=_TAGS):
    rows = "".join(f"{id},{' '.join(tags)},train\n" for id, tags in tags_of.items())
    return write_data(root, rows, photos=" ".join(tags_of))


def _as_folders(root, tags_of=_TAGS):
    for id, tags in tags_of.items():
        for tag in tags:
            write_photo(root / tag / f"{id}.jpg")
    return root


def _as_voc(root):
    (root / "ImageSets").mkdir()
    (root / "ImageSets/train.txt").write_text("\n".join(_TAGS))
    (root / "Annotations").mkdir()
    for id, tags in _TAGS.items():
        write_photo(root / f"JPEGImages/{id}.jpg")
        (root / f"Annotations/{id}.xml").write_text(annotation_xml(*tags))
    return root


@pytest.mark.parametrize("write", [_as_table, _as_folders])
def test_background_in_another_language_is_told(tmp_path, write):
    tags = {"a": ("Katze",), "b": ("Hintergrund",), "c": ("Hund",)}
    found = read_inventory(write(tmp_path, tags))
    assert found.class_names == ("Hund", "Katze") and found.problems == ()
    assert [entry.tags for entry in found.entries] == [("Katze",), (), ("Hund",)]
    assert found.remarks == ("read as background: 'Hintergrund'",)


@pytest.mark.parametrize("write", [_as_table, _as_folders, _as_voc])
def test_every_layout_leaves_out_the_same_names(tmp_path, write):
    found = read_inventory(write(tmp_path))
    if write is not _as_voc:  # VOC's classes are known
        assert found.class_names == ("cat", "dog")
    tags = {entry.id: entry.tags for entry in found.entries}
    assert tags == {"a": ("cat",), "b": ("dog",), "c": (), "e": (), "f": ("cat",)}
    messages = [problem.message for problem in found.problems]
    assert all(problem.warning for problem in found.problems) and len(messages) == 3
    assert "'no_label' says that they are not labeled (photo 'd'" in messages[0]
    assert "tag '__ignore__' is not a class, judging by its name (photo 'f'" in messages[1]
    assert "tag 'nan' is not a class, judging by its name (photo 'e'" in messages[2]


def test_a_list_of_classes_has_the_last_word(tmp_path):
    root = write_data(tmp_path, "a,ok,train\nb,palm,train\nc,-,train\n", "palm ok", "a b c")
    found = read_inventory(root)
    assert found.class_names == ("palm", "ok")
    assert [entry.tags for entry in found.entries] == [("ok",), ("palm",), ()]
    assert ["tag '-'" in problem.message for problem in found.problems] == [True]


@pytest.mark.parametrize(
    "name", ["other", "good", "unknown", "void", "fondo", "Sonstiges", "其他", "rust_healthy"]
)
def test_classes_that_may_be_none_are_a_warning(tmp_path, name):
    rows = f"a,cat,train\nb,{name},train\n"
    found = read_inventory(write_data(tmp_path / "x", rows, photos="a b"))
    assert set(found.class_names) == {"cat", name}
    [problem] = found.problems
    assert problem.warning and f"class {name!r} may not be a class, judging by" in problem.message
    listed = read_inventory(write_data(tmp_path / "y", rows, f"cat {name}", "a b"))
    assert listed.problems == ()


def test_tags_that_are_numbers_are_a_warning(tmp_path):
    found = read_inventory(write_data(tmp_path, "a,0,train\nb,1,train\n", photos="a b"))
    assert found.class_names == ("0", "1")
    assert "all tags are numbers ('0', '1')" in found.problems[0].message
    signed = read_inventory(write_data(tmp_path, "a,-1,train\nb,1,train\n", photos="a b"))
    assert "all tags are numbers ('-1', '1')" in signed.problems[0].message
    found = read_inventory(write_data(tmp_path, "a,Yes,train\nb,no,train\n", photos="a b"))
    assert "all tags are answers ('Yes', 'no')" in found.problems[0].message
    mixed = read_inventory(write_data(tmp_path, "a,7up,train\nb,1,train\n", photos="a b"))
    assert mixed.problems == ()
    listed = write_data(tmp_path, "a,yes,train\nb,no,train\n", "no yes", "a b")
    assert read_inventory(listed).problems == ()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("not_hotdog", "hotdog"),
        ("Non-Fire", "fire"),
        ("without_mask", "with_mask"),
        ("-cat", "cat"),
    ],
)
@pytest.mark.parametrize("write", [_as_table, _as_folders])
def test_classes_that_deny_another_are_a_warning(tmp_path, write, name, other):
    found = read_inventory(write(tmp_path, {"a": (name,), "b": (other,), "c": ("tree",)}))
    [message] = [p.message for p in found.problems if "says that photos" in p.message]
    assert f"class {name!r} says that photos don't show {other!r} (photo 'a'" in message
    (tmp_path / "classes.txt").write_text(f"{name}\n{other}\ntree\n")
    assert not [p for p in read_inventory(tmp_path).problems if "says that" in p.message]


def test_a_denial_of_no_class_is_a_class(tmp_path):
    found = read_inventory(_as_table(tmp_path, {"a": ("no_entry",), "b": ("stop",)}))
    assert found.class_names == ("no_entry", "stop") and found.problems == ()
