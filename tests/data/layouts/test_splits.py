"""Lists of ids, and the split that each photo gets from them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.splits import SplitRule, read_id_list
from tag2mask.errors import DataError

NAMES = st.text("abcé犬_ 7", min_size=1, max_size=6).filter(
    lambda name: name.strip() == name and not name.endswith((" 7", " 0", " 1"))
)
IDS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@settings(max_examples=25, deadline=None)
@given(ids=st.lists(IDS, unique=True, max_size=5), suffix=st.sampled_from(["", ".jpg", ".PNG"]))
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n"])
def test_a_list_gives_back_its_ids(tmp_path_factory, ids, suffix, ending):
    path = tmp_path_factory.mktemp("list") / "train.txt"
    path.write_bytes("".join(f"{id}{suffix}{ending}" for id in ids).encode())
    photos, problems = read_id_list(path)
    assert [photo.id for photo in photos] == ids and problems == []
    assert all(photo.mask is None for photo in photos)


@settings(max_examples=25, deadline=None)
@given(names=st.lists(NAMES, unique=True, max_size=5))
def test_psa_lists_have_photos_and_masks(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("list") / "train.txt"
    path.write_text("".join(f"/JPEGImages/{n}.jpg /Aug/{n}.png\n" for n in names))
    photos, problems = read_id_list(path)
    assert problems == []
    assert [(photo.id, photo.mask) for photo in photos] == [
        (f"JPEGImages/{name}", f"Aug/{name}.png") for name in names
    ]


def test_numbers_of_class_lists_are_ignored(tmp_path):
    (tmp_path / "dog_train.txt").write_text("2007_000032 -1\n2007_000033  1\n2007_000034  0\n")
    photos, _ = read_id_list(tmp_path / "dog_train.txt")
    assert [photo.id for photo in photos] == ["2007_000032", "2007_000033", "2007_000034"]
    assert photos[1].where == "dog_train.txt line 2"


def test_numbers_at_the_ends_of_names_are_not_those_of_a_class(tmp_path):
    (tmp_path / "train.txt").write_text("photo 0\nphoto 1\nphoto 2\n")
    photos, problems = read_id_list(tmp_path / "train.txt")
    assert [photo.id for photo in photos] == ["photo 0", "photo 1", "photo 2"] and problems == []


def test_a_listed_split_has_priority_over_the_datas_own(tmp_path):
    (tmp_path / "val.txt").write_text("a\n")
    rule = SplitRule(tmp_path, SourceOptions(val_split="val.txt"))
    assert rule.split_of("a", "train") == "val"
    assert rule.split_of("b") == rule.split_of("c", "train") == "train"
    assert rule.split_of("d", "test") is None
    assert rule.problems({"a", "b", "c", "d"}) == []


def test_an_id_in_two_lists_and_an_unknown_one(tmp_path):
    (tmp_path / "train.txt").write_text("a\n")
    (tmp_path / "val.txt").write_text("a\nb\n")
    rule = SplitRule(tmp_path, SourceOptions("train.txt", "val.txt"))
    assert rule.split_of("c") is None
    twice, unknown = rule.problems({"a", "c"})
    assert "val.txt line 1: photo 'a' is listed twice (also in train.txt line 1)" in twice.message
    assert "val.txt line 2: photo 'b' is not in the data" in unknown.message
    assert unknown.photo == "b" and twice.photo is None


def test_a_missing_list(tmp_path):
    with pytest.raises(DataError, match=r"no list of ids 'gone\.txt'"):
        SplitRule(tmp_path, SourceOptions(train_split="gone.txt"))


@pytest.mark.parametrize(
    ("written", "split"),
    [
        ("Train", "train"),
        ("training", "train"),
        ("VAL", "val"),
        ("valid", "val"),
        ("Validation", "val"),
        ("Test", None),
        ("PublicTest", None),
        ("extra", None),
    ],
)
def test_usual_names_of_splits(tmp_path, written, split):
    rule = SplitRule(tmp_path, SourceOptions())
    assert rule.split_of("a", written) == split
    assert len(rule.problems({"a"})) == (written == "extra")


def test_a_requested_name_is_taken_as_it_is(tmp_path):
    rule = SplitRule(tmp_path, SourceOptions("Train", "validation"))
    assert [rule.split_of("a", name) for name in ("Train", "train", "validation", "val")] == [
        "train",
        "train",
        "val",
        "val",
    ]
    rule = SplitRule(tmp_path, SourceOptions("train", "Test"))
    assert [rule.split_of("a", name) for name in ("test", "val")] == ["val", None]


@pytest.mark.parametrize(
    ("options", "warned"),
    [(SourceOptions(), True), (SourceOptions("train_val_list.txt", "test_list.txt"), False)],
)
def test_lists_that_nobody_reads_are_a_warning(tmp_path, options, warned):
    (tmp_path / "train_val_list.txt").write_text("a.png\n")
    (tmp_path / "test_list.txt").write_text("b.png\n")
    (tmp_path / "train_notes.txt").write_text("who took the photos\n")
    (tmp_path / "train_1.txt").write_text("a\n")  # a text about one photo
    rule = SplitRule(tmp_path, options)
    for id in ("images/a", "images/b", "a", "b"):
        rule.split_of(id)
    problems = rule.problems({"images/a", "images/b", "a", "b", "images/train_1"})
    assert [problem.warning for problem in problems] == [True] * warned
    assert not warned or "not read: test_list.txt, train_val_list.txt;" in problems[0].message


def test_lists_beside_photos_with_splits_are_no_warning(tmp_path):
    (tmp_path / "train.txt").write_text("a\n")
    rule = SplitRule(tmp_path, SourceOptions())
    rule.split_of("a", "train")
    assert rule.problems({"a"}) == []
