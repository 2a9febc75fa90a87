import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

import tag2mask.data.layouts.json_stream as json_stream
from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.coco import is_coco, read_coco
from tag2mask.data.layouts.coco_masks import draw_outline
from tag2mask.data.layouts.json_stream import iterate_items
from tag2mask.errors import DataError

_CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "traffic light"}]


def _box(x: int, y: int, width: int, height: int) -> list[list[int]]:
    return [[x, y, x + width, y, x + width, y + height, x, y + height]]


def _annotation(image: int, category: int, segmentation: object, **more: object) -> dict:
    return {
        "id": 1,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "iscrowd": 0,
        **more,
    }


def _coco(
    root: Path,
    split: str,
    images: dict[int, str],
    annotations: list[dict],
    *,
    folder: str = "images",
    name: str | None = None,
    photos: bool = True,
) -> Path:
    path = root / (name or f"annotations/instances_{split}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "info": {"year": 2026, "nested": [1, {"a": []}]},
                "annotations": annotations,
                "images": [
                    {"id": key, "file_name": file, "height": 8, "width": 10}
                    for key, file in images.items()
                ],
                "categories": _CATEGORIES,
                "licenses": [],
            },
            ensure_ascii=False,
        ),
        encoding="utf-8",
    )
    for file in images.values() if photos else ():
        (root / folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (10, 8)).save(root / folder / file)
    return path


def _two_splits(root: Path, train: str = "train2017", val: str = "val2017") -> None:
    _coco(
        root,
        train,
        {1: "0001.jpg", 2: "0002.jpg"},
        [_annotation(1, 7, _box(0, 0, 4, 4)), _annotation(1, 3, _box(6, 0, 2, 2))],
        folder=f"images/{train}",
    )
    _coco(root, val, {1: "0001.jpg"}, [_annotation(1, 7, _box(0, 0, 4, 4))], folder=f"images/{val}")


def test_tags_and_splits(tmp_path):
    _two_splits(tmp_path)
    assert is_coco(tmp_path)
    found = read_coco(tmp_path, SourceOptions())
    assert found.problems == () and found.class_names == ("traffic light", "dog")
    assert [(e.id, e.split, e.tags) for e in found.entries] == [
        ("train2017/0001", "train", ("traffic light", "dog")),
        ("train2017/0002", "train", ()),
        ("val2017/0001", "val", ("dog",)),
    ]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("annotations/instances_train.json", "train"),
        ("annotations/train.json", "images"),
        ("train/_annotations.coco.json", "train"),
        ("instances.json", ""),
        ("annotations/anything.json", "images"),
    ],
)
def test_where_json_and_photos_may_lie(tmp_path, name, folder):
    _coco(
        tmp_path,
        "train",
        {5: "sub/a.jpg"},
        [_annotation(5, 7, _box(0, 0, 2, 2))],
        folder=folder,
        name=name,
    )
    found = read_coco(tmp_path, SourceOptions())
    assert found.problems == ()
    [entry] = found.entries
    assert entry.split == "train" and entry.tags == ("dog",)
    assert (tmp_path / entry.image).is_file() and entry.id.endswith("sub/a")


def test_a_list_of_ids_splits_one_json(tmp_path):
    _coco(
        tmp_path,
        "",
        {1: "a.jpg", 2: "b.jpg"},
        [_annotation(1, 7, _box(0, 0, 2, 2))],
        name="annotations.json",
    )
    (tmp_path / "held-out.txt").write_text("b\n")
    found = read_coco(tmp_path, SourceOptions(val_split="held-out.txt"))
    assert [(e.id, e.split) for e in found.entries] == [("a", "train"), ("b", "val")]


def test_masks_small_on_large_and_crowds_ignored(tmp_path):
    crowd = np.zeros((8, 10), np.uint8)
    crowd[6:, :] = 1
    code = coco_mask.encode(np.asfortranarray(crowd))
    _coco(
        tmp_path,
        "train",
        {1: "a.jpg", 2: "b.jpg"},
        [
            _annotation(1, 7, _box(2, 2, 2, 2)),
            _annotation(1, 3, _box(0, 0, 6, 7)),
            _annotation(1, 7, {"size": [8, 10], "counts": code["counts"].decode()}, iscrowd=1),
        ],
    )
    found = read_coco(tmp_path, SourceOptions())
    expected = np.zeros((8, 10), np.uint8)
    expected[6:, :] = 255
    expected[:7, :6] = 1  # traffic light
    expected[2:4, 2:4] = 2  # dog
    assert np.array_equal(found.mask_drawer.draw("a", (8, 10)), expected)
    assert np.array_equal(found.mask_drawer.draw("b", (8, 10)), np.zeros((8, 10), np.uint8))
    assert all(e.mask is None and e.mask_stamp for e in found.entries)


def test_run_length_lists_and_slivers(tmp_path):
    _coco(
        tmp_path,
        "train",
        {1: "a.jpg"},
        [
            _annotation(1, 7, {"size": [8, 10], "counts": [8, 16, 56]}),
            _annotation(1, 3, [[1, 1, 5, 5]]),  # two corners: nothing, and not a box
        ],
    )
    mask = read_coco(tmp_path, SourceOptions()).mask_drawer.draw("a", (8, 10))
    assert np.array_equal(np.unique(mask), [0, 2]) and (mask[:, 1:3] == 2).all()
    assert (mask == 2).sum() == 16


def test_boxes_without_outlines_give_tags_but_no_mask(tmp_path):
    _coco(
        tmp_path,
        "train",
        {1: "a.jpg", 2: "b.jpg"},
        [_annotation(1, 7, []), _annotation(2, 3, _box(0, 0, 3, 3))],
    )
    found = read_coco(tmp_path, SourceOptions())
    assert {e.id: bool(e.mask_stamp) for e in found.entries} == {"a": False, "b": True}
    assert found.entries[0].tags == ("dog",)


def test_a_changed_outline_changes_the_masks_stamp(tmp_path):
    stamps = []
    for side in (3, 4):
        _coco(tmp_path, "train", {1: "a.jpg"}, [_annotation(1, 7, _box(0, 0, side, 3))])
        stamps.append(read_coco(tmp_path, SourceOptions()).entries[0].mask_stamp)
    assert stamps[0] != stamps[1]


def test_a_file_that_changed_since_it_was_read(tmp_path):
    path = _coco(tmp_path, "train", {1: "a.jpg"}, [_annotation(1, 7, _box(0, 0, 3, 3))])
    found = read_coco(tmp_path, SourceOptions())
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(DataError, match=r"damaged outline of photo 'a' \(annotation \?\)"):
        found.mask_drawer.draw("a", (8, 10))


@pytest.mark.parametrize(
    ("outline", "says"),
    [
        ({"size": [8, 11], "counts": [88]}, "its size [8, 11] is not the photo's [8, 10]"),
        ({"size": [8, 10]}, "counts are neither"),
        ([["x"] * 6], "list of numbers"),
        ("dog", "'dog' is neither a list of polygons"),
        (5, "'5' is neither"),
        # What pycocotools crashes on, takes all memory for, or reads as anything at all.
        ([[1, 2, 3, float("nan"), 5, 6]], "nan is far outside"),
        ([[1, 2, float("inf"), 4, 5, 6]], "inf is far outside"),
        ([[1, 2, 1e9, 4, 5, 6]], "1000000000.0 is far outside of the photo, 10x8 px"),
        ([[1, 2, 3, 1e308, 5, 6]], "1e+308"),
        ([[1, 2, 3, -(10**400), 5, 6]], "far outside"),
        ([[1, 2, 3, 10_001, 5, 6]], "10001 is far outside"),
        ([[1, 2, 3, 4, 5, 6, 7]], "a polygon of 7 numbers"),
        ([1, 2, 3, 4, 5, 6], "list of numbers"),
        ([[1, 2, 3, 4, 5, None]], "list of numbers"),
        ({"size": [10**9, 10**9], "counts": [10**18]}, "its size"),
        ({"size": [8, 10], "counts": []}, "come to 0 pixels"),
        (
            {"size": [8, 10], "counts": [5]},
            "come to 5 pixels, or some are negative; the photo has 80",
        ),
        ({"size": [8, 10], "counts": [1000]}, "come to 1000"),
        ({"size": [8, 10], "counts": [-5, 85]}, "negative"),
        ({"size": [8, 10], "counts": [0.5, 79.5]}, "whole numbers"),
        ({"size": [8, 10], "counts": ""}, "come to 0"),
        ({"size": [8, 10], "counts": "5"}, "come to 5"),
        ({"size": [8, 10], "counts": "zzzz"}, "the character 'z'"),
        ({"size": [8, 10], "counts": "`"}, "cut off"),
    ],
)
def test_damaged_outlines_are_named_when_drawn(tmp_path, outline, says):
    path = _coco(tmp_path, "train", {1: "a.jpg"}, [_annotation(1, 7, outline)])
    found = read_coco(tmp_path, SourceOptions())
    with pytest.raises(DataError, match="damaged outline of photo 'a'") as caught:
        found.mask_drawer.draw("a", (8, 10))
    assert str(path) in str(caught.value) and says in str(caught.value)


def test_outlines_over_the_border_are_cut_there(tmp_path):
    _coco(tmp_path, "train", {1: "a.jpg"}, [_annotation(1, 7, [[-10, -8, 4, -8, 4, 16, -10, 16]])])
    mask = read_coco(tmp_path, SourceOptions()).mask_drawer.draw("a", (8, 10))
    assert (mask[:, :4] == 2).all() and not mask[:, 4:].any()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    compressed=st.booleans(),
)
def test_run_length_codes_are_read_as_pycocotools_reads_them(seed, share, compressed):
    mask = np.asfortranarray(np.random.default_rng(seed).random((97, 61)) < share)
    code = coco_mask.encode(mask.astype(np.uint8))
    counts = code["counts"].decode()
    if not compressed:
        flat = mask.ravel(order="F")
        ends = [*np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size]
        counts = [int(run) for run in np.diff([0, *([0] if flat[0] else []), *ends])]
    inside = draw_outline({"size": [97, 61], "counts": counts}, 97, 61)
    assert np.array_equal(inside, mask)


@pytest.mark.parametrize("size", [(10**9, 10**9), (8, 10**9), (9, 10)])
def test_a_size_that_is_not_the_photos_is_named_before_anything_is_drawn(tmp_path, size):
    path = _coco(tmp_path, "train", {1: "a.jpg"}, [_annotation(1, 7, _box(0, 0, 3, 3))])
    values = json.loads(path.read_text())
    values["images"][0] |= {"height": size[0], "width": size[1]}
    path.write_text(json.dumps(values))
    found = read_coco(tmp_path, SourceOptions())
    with pytest.raises(
        DataError,
        match=f"'a' has another size: {size[1]}x{size[0]} in the JSON, "
        r"10x8 px in its file.*Correct its width and height",
    ):
        found.mask_drawer.draw("a", (8, 10))


def test_an_unknown_category_is_named_when_drawn(tmp_path):
    _coco(
        tmp_path,
        "train",
        {1: "a.jpg", 2: "b.jpg"},
        [_annotation(1, 9, _box(0, 0, 3, 3)), _annotation(2, "7", _box(0, 0, 3, 3))],
    )
    masks = read_coco(tmp_path, SourceOptions()).mask_drawer
    with pytest.raises(DataError, match=r"photo 'a' is of the unknown category 9.*`categories`"):
        masks.draw("a", (8, 10))
    assert masks.draw("b", (8, 10))[0, 0] == 2  # an id as text counts as it does for the tags


def test_items_that_cannot_be_read_say_how_to_fix_them(tmp_path):
    path = _coco(
        tmp_path,
        "train",
        {1: "a.jpg"},
        [{"id": 4, "image_id": 1}, _annotation(77, 7, []), {"image_id": None, "category_id": 7}],
    )
    path.write_text(path.read_text().replace('"height": 8', '"height": 1e999'))
    messages = [p.message.partition(": ")[2] for p in read_coco(tmp_path, SourceOptions()).problems]
    assert messages[0] == (
        "annotations item 1 lacks the key 'category_id'; add it, or remove the item"
    )
    assert "item 3 is damaged" in messages[1] and "fix or remove it" in messages[1]
    assert "images item 1 is damaged: cannot convert float infinity" in messages[2]
    assert "list them there, or remove their annotations" in messages[3]


def test_all_problems_of_the_lists_are_named(tmp_path):
    _coco(
        tmp_path,
        "train",
        {1: "a.jpg", 2: "../b.jpg", 3: "/c.jpg", 4: "gone.jpg"},
        [_annotation(1, 99, []), _annotation(77, 7, []), {"id": 4}],
        photos=False,
    )
    Image.new("RGB", (10, 8)).save(tmp_path / "a.jpg")
    found = read_coco(tmp_path, SourceOptions())
    messages = " | ".join(p.message for p in found.problems)
    for part in (
        "leads out of the data folder",
        "is absolute",
        "'gone' does not exist",
        "unknown categories: 99",
        "annotations of 1 photos",
        "annotations item 3",
    ):
        assert part in messages, part
    assert [e.id for e in found.entries] == ["a", "gone"]


def test_a_photo_without_a_size_has_no_mask(tmp_path):
    _coco(tmp_path, "train", {1: "a.jpg", 2: "b.jpg"}, [_annotation(1, 7, _box(0, 0, 2, 2))])
    path = tmp_path / "annotations" / "instances_train.json"
    values = json.loads(path.read_text())
    del values["images"][0]["width"]
    path.write_text(json.dumps(values))
    found = read_coco(tmp_path, SourceOptions())
    [problem] = found.problems
    assert "instances_train.json image 1: no width and height" in problem.message
    assert problem.photo == "a" and not problem.warning
    assert [bool(e.mask_stamp) for e in found.entries] == [False, True]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cut off"),
        ("[]", "'{' expected"),
        ('{"images": [', "cut off"),
        ('{"images": [{"id": 1 "x"', "not JSON"),
        ('{"images": []}', "no images"),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}]}', "no categories"),
    ],
)
def test_files_that_are_no_coco_json(tmp_path, text, says):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_train.json").write_text(text)
    with pytest.raises(DataError, match=r"instances_train\.json") as caught:
        read_coco(tmp_path, SourceOptions())
    assert says in str(caught.value)


def test_which_json(tmp_path):
    with pytest.raises(DataError, match="no COCO JSON"):
        read_coco(tmp_path, SourceOptions())
    _two_splits(tmp_path)
    with pytest.raises(DataError, match="no JSON for split 'trian'"):
        read_coco(tmp_path, SourceOptions(train_split="trian", val_split=None))
    _coco(tmp_path, "train2014", {}, [])
    with pytest.raises(DataError, match="several JSON files for split 'train'"):
        read_coco(tmp_path, SourceOptions())
    assert len(read_coco(tmp_path, SourceOptions("train2017", "val2017")).entries) == 3


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None)
@given(
    items=st.lists(_json, max_size=5),
    other=_json,
    ascii=st.booleans(),
    block=st.integers(6, 60),
    indent=st.sampled_from([None, 2]),
)
def test_stream_gives_what_json_gives(tmp_path_factory, items, other, ascii, block, indent):
    path = tmp_path_factory.mktemp("json") / "a.json"
    text = json.dumps(
        {"before": other, "items": items, "x": [other]}, ensure_ascii=ascii, indent=indent
    )
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    before = json_stream._BLOCK
    json_stream._BLOCK = block
    try:
        found = list(iterate_items(path, ["items"]))
    finally:
        json_stream._BLOCK = before
    assert [item.value for item in found] == items
    content = path.read_bytes()
    for item in found:
        assert content[item.start : item.start + len(item.raw)] == item.raw


def test_stream_holds_a_block_not_the_file(tmp_path, monkeypatch):
    import tracemalloc

    monkeypatch.setattr(json_stream, "_BLOCK", 1 << 16)
    path = tmp_path / "a.json"
    item = json.dumps({"segmentation": [list(range(200))]})
    path.write_text('{"items": [' + ",".join([item] * 5_000) + "]}")
    assert path.stat().st_size > 4e6
    tracemalloc.start()
    count = sum(1 for _ in iterate_items(path, ["items"]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5_000 and peak < 1e6
