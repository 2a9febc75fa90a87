"""The prepared index: round trips, fingerprints and damaged files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.data.index import (
    MaskRow,
    Sample,
    all_samples,
    masks_fingerprint,
    photos_fingerprint,
    read_classes,
    read_index,
    read_mask_paths,
    read_samples,
    write_index,
    write_mask_rows,
    write_source,
)
from tag2mask.errors import RunFolderError
from tag2mask.files.json_file import write_json

_name = st.text(
    st.characters(blacklist_categories=("Cc", "Cs"), blacklist_characters="/\\."),
    min_size=1,
    max_size=8,
)


def _sample(
    root: Path, id: str = "a/b", tags: tuple[int, ...] = (0, 3), stamp: str = "9-1"
) -> Sample:
    return Sample(id, root / f"{id}.jpg", (3, 4), tags, stamp)


@settings(max_examples=25, deadline=None)
@given(
    parts=st.lists(_name, min_size=1, max_size=3),
    tags=st.lists(st.integers(0, 253), unique=True).map(lambda t: tuple(sorted(t))),
    size=st.tuples(st.integers(1, 9999), st.integers(1, 9999)),
)
def test_round_trip(tmp_path_factory, parts, tags, size):
    folder, root = tmp_path_factory.mktemp("prepare"), Path("/data")
    id = "/".join(parts)
    sample = Sample(id, root / f"{id}.jpg", size, tags, "10-99")
    write_source(folder, "csv", root)
    write_index(folder, "train", [sample, sample], root)
    assert read_index(folder, "train") == [sample, sample]
    grouped = replace(sample, group=parts[0])
    write_index(folder, "val", [grouped], root)
    assert read_index(folder, "val") == [grouped]


def test_moved_data_folder_moves_every_photo(tmp_path):
    write_source(tmp_path, "csv", Path("/old"))
    write_index(tmp_path, "val", [_sample(Path("/old"))], Path("/old"))
    write_source(tmp_path, "csv", Path("/new"))
    assert read_index(tmp_path, "val")[0].image == Path("/new/a/b.jpg")


def test_samples_of_several_splits_begin_with_those_for_training(tmp_path):
    write_source(tmp_path, "csv", tmp_path)
    train, val = [_sample(tmp_path, "b"), _sample(tmp_path, "c")], [_sample(tmp_path, "a")]
    write_index(tmp_path, "val", val, tmp_path)
    assert read_samples(tmp_path, ["val"]) == val
    write_index(tmp_path, "train", train, tmp_path)
    assert read_samples(tmp_path) == read_samples(tmp_path, ("val", "train")) == train + val
    assert all_samples({"val": val, "train": train}) == train + val


def test_samples_and_their_index_have_no_mask(tmp_path):
    write_source(tmp_path, "csv", Path("/d"))
    write_index(tmp_path, "train", [_sample(Path("/d"))], Path("/d"))
    write_mask_rows(tmp_path, [MaskRow("a/b", "masks/a/b.png", False, "1-1")])
    assert "mask" not in (tmp_path / "train.jsonl").read_text()
    assert not any("mask" in field for field in Sample.__slots__)


def test_masks_are_in_the_data_or_in_the_prepared_folder(tmp_path):
    write_source(tmp_path, "coco", Path("/d"))
    write_mask_rows(
        tmp_path,
        [
            MaskRow("a", "masks/a.png", False, "1-1"),
            MaskRow("b", "coco-masks/b.png", True, "coco-1"),
        ],
    )
    assert read_mask_paths(tmp_path) == {
        "a": Path("/d/masks/a.png"),
        "b": tmp_path / "coco-masks/b.png",
    }
    before = masks_fingerprint(tmp_path)
    write_mask_rows(tmp_path, [])
    assert read_mask_paths(tmp_path) == {} and not (tmp_path / "masks.jsonl").exists()
    assert masks_fingerprint(tmp_path) != before


@pytest.mark.parametrize(
    "other",
    [
        {"train": [_sample(Path("/d"), tags=(0,))], "val": []},
        {"train": [_sample(Path("/d"), stamp="9-2")], "val": []},
        {"train": [_sample(Path("/d"), id="a/c")], "val": []},
        {"train": [], "val": [_sample(Path("/d"))]},
    ],
)
def test_fingerprint_depends_on_tags_stamps_ids_and_splits(other):
    assert photos_fingerprint({"train": [_sample(Path("/d"))], "val": []}) != photos_fingerprint(
        other
    )


def test_fingerprint_does_not_depend_on_the_location():
    assert photos_fingerprint({"train": [_sample(Path("/d"))], "val": []}) == photos_fingerprint(
        {"train": [_sample(Path("/e"))], "val": []}
    )


@pytest.mark.parametrize("content", ["{not json\n", '{"id": "a"}\n', "[]\n"])
def test_damaged_index_is_named(tmp_path, content):
    write_source(tmp_path, "csv", Path("/d"))
    (tmp_path / "train.jsonl").write_text(content)
    with pytest.raises(RunFolderError, match=r"train\.jsonl is damaged.*prepare"):
        read_index(tmp_path, "train")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mask", "../../etc/passwd"),
        ("mask", "/etc/passwd"),
        ("mask", 5),
        ("mask", None),
        ("drawn", "yes"),
        ("stamp", 1),
        ("values", 3),
    ],
)
def test_a_damaged_row_of_a_mask_is_named(tmp_path, key, value):
    write_source(tmp_path, "csv", Path("/d"))
    row = {"id": "a", "mask": "masks/a.png", "drawn": False, "stamp": "1-2"}
    (tmp_path / "masks.jsonl").write_text(json.dumps(row) + "\n")
    assert read_mask_paths(tmp_path) == {"a": Path("/d/masks/a.png")}
    for damaged in (json.dumps(row | {key: value}), "[1]", "5"):
        (tmp_path / "masks.jsonl").write_text(damaged + "\n")
        with pytest.raises(RunFolderError, match=r"masks\.jsonl is damaged.*prepare"):
            read_mask_paths(tmp_path)


def test_missing_index_names_the_step_to_run(tmp_path):
    write_source(tmp_path, "csv", Path("/d"))
    with pytest.raises(RunFolderError, match=r"train\.jsonl is missing.*tag2mask prepare"):
        read_index(tmp_path, "train")


def test_classes_of_a_damaged_file(tmp_path):
    write_json(tmp_path / "classes.json", {"names": ["cat", "dog"]})
    assert read_classes(tmp_path).names == ("cat", "dog")
    for damaged in (["cat"], {"names": "ab"}, {"names": [1]}, {"names": []}):
        write_json(tmp_path / "classes.json", damaged)
        with pytest.raises(RunFolderError, match="damaged"):
            read_classes(tmp_path)
