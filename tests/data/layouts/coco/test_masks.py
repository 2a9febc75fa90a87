"""Masks drawn from COCO's outlines, and damaged outlines."""

import json
import re

import numpy as np
import pytest
from data_folders import box, coco_annotation, write_coco
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from tag2mask.data.checks.data_folder import check_data
from tag2mask.data.inventory import SourceOptions
from tag2mask.data.layouts.coco.reader import read_coco
from tag2mask.errors import DataError
from tag2mask.formats.coco.outlines import draw_outline


def test_masks_small_on_large_and_crowds_ignored(tmp_path):
    crowd = np.zeros((8, 10), np.uint8)
    crowd[6:, :] = 1
    code = coco_mask.encode(np.asfortranarray(crowd))
    write_coco(
        tmp_path,
        "train",
        {1: "a.jpg", 2: "b.jpg"},
        [
            coco_annotation(1, 7, box(2, 2, 2, 2), iscrowd="0"),
            coco_annotation(1, 3, box(0, 0, 6, 7)),
            coco_annotation(1, 7, {"size": [8, 10], "counts": code["counts"].decode()}, iscrowd=1),
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
    write_coco(
        tmp_path,
        "train",
        {1: "a.jpg"},
        [
            coco_annotation(1, 7, {"size": [8, 10], "counts": [8, 16, 56]}),
            coco_annotation(1, 3, [[1, 1, 5, 5], box(5, 0, 2, 2)[0]]),  # one part has no area
        ],
    )
    mask = read_coco(tmp_path, SourceOptions()).mask_drawer.draw("a", (8, 10))
    assert np.array_equal(np.unique(mask), [0, 1, 2]) and (mask[:, 1:3] == 2).all()
    assert (mask == 2).sum() == 16 and (mask == 1).sum() == 4


@pytest.mark.parametrize(
    "outline",
    [[], [[]], None, [[16, 12, 48, 36]], [1, 1, 5, 5], [[1, 1], [5, 1], [5, 5]], {}, "", [[], []]],
)
def test_objects_without_an_outline_are_not_drawn_as_background(tmp_path, outline):
    write_coco(
        tmp_path,
        "train",
        {1: "a.jpg", 2: "b.jpg"},
        [
            coco_annotation(1, 7, outline),
            coco_annotation(1, 3, box(0, 0, 2, 2)),
            coco_annotation(2, 7, box(0, 0, 2, 2)),
        ],
    )
    report = check_data(tmp_path)
    assert report.errors == () and report.masks == 1
    [warning] = [w for w in report.warnings if "no mask, since" in w]
    assert "1 photo has no mask" in warning and "no outline: a.jpg" in warning


def test_a_flat_polygon_is_drawn_like_a_list_of_one(tmp_path):
    for name, outline in (("a", box(1, 1, 3, 3)[0]), ("b", box(1, 1, 3, 3))):
        write_coco(tmp_path / name, "train", {1: "a.jpg"}, [coco_annotation(1, 7, outline)])
    flat, nested = (read_coco(tmp_path / name, SourceOptions()) for name in "ab")
    assert flat.problems == ()
    drawn = flat.mask_drawer.draw("a", (8, 10))
    assert (drawn == 2).sum() == 9
    assert np.array_equal(drawn, nested.mask_drawer.draw("a", (8, 10)))


def test_a_file_that_changed_since_it_was_read(tmp_path):
    path = write_coco(tmp_path, "train", {1: "a.jpg"}, [coco_annotation(1, 7, box(0, 0, 3, 3))])
    found = read_coco(tmp_path, SourceOptions())
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(DataError, match=r"damaged outline of photo 'a' \(annotation \?\)"):
        found.mask_drawer.draw("a", (8, 10))


@pytest.mark.parametrize(
    ("outline", "message"),
    [
        ({"size": [8, 11], "counts": [88]}, "the size [8, 11] of a run-length code is not the"),
        ({"size": [8, 10]}, "counts are neither"),
        ([["x"] * 6], "list of numbers"),
        ("dog", "'dog' is neither a list of polygons"),
        (5, "'5' is neither"),
        # What makes pycocotools crash, exhaust the memory or return garbage.
        ([[1, 2, 3, float("nan"), 5, 6]], "nan is far outside"),
        ([[1, 2, float("inf"), 4, 5, 6]], "inf is far outside"),
        ([[1, 2, 1e9, 4, 5, 6]], "1000000000.0 is far outside of any photo"),
        ([[1, 2, 3, 1e308, 5, 6]], "1e+308"),
        ([[1, 2, 3, -(10**400), 5, 6]], "far outside"),
        ([[1, 2, 3, 10_001, 5, 6]], "10001 is far outside of the photo, 10x8 px"),
        ([[1, 2, 3, 4, 5, 6, 7]], "a polygon of 7 numbers"),
        ([1, 2, 3, 4, 5, 6, 7], "a polygon of 7 numbers"),
        ([[1, 2, 3, 4, 5, None]], "list of numbers"),
        ({"size": [10**9, 10**9], "counts": [10**18]}, "the size [1000000000, 1000000000]"),
        ({"size": "8x10", "counts": [80]}, "its size 8x10 is not [height, width]"),
        ({"size": [8, 10], "counts": []}, "come to 0 pixels"),
        ({"size": [8, 10], "counts": [5]}, "come to 5 pixels, its size [8, 10] to 80"),
        ({"size": [8, 10], "counts": [1000]}, "come to 1000"),
        ({"size": [8, 10], "counts": [-5, 85]}, "negative"),
        ({"size": [8, 10], "counts": [0.5, 79.5]}, "whole numbers"),
        ({"size": [8, 10], "counts": ""}, "come to 0"),
        ({"size": [8, 10], "counts": "5"}, "come to 5"),
        ({"size": [8, 10], "counts": "zzzz"}, "the character 'z'"),
        ({"size": [8, 10], "counts": "`"}, "cut off"),
    ],
)
def test_outlines_that_cannot_be_drawn_cost_the_mask(tmp_path, outline, message):
    path = write_coco(
        tmp_path,
        "train",
        {1: "a.jpg", 2: "b.jpg"},
        [coco_annotation(1, 7, outline), coco_annotation(2, 7, box(0, 0, 2, 2))],
    )
    report = check_data(tmp_path)
    assert report.errors == () and report.masks == 1
    [warning] = [w for w in report.warnings if "no mask, since" in w]
    assert "1 photo has no mask" in warning and path.name in warning and message in warning
    with pytest.raises(ValueError, match=re.escape(message)):
        draw_outline(outline, 8, 10)


def test_outlines_over_the_border_are_clipped(tmp_path):
    write_coco(
        tmp_path, "train", {1: "a.jpg"}, [coco_annotation(1, 7, [[-10, -8, 4, -8, 4, 16, -10, 16]])]
    )
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
    path = write_coco(tmp_path, "train", {1: "a.jpg"}, [coco_annotation(1, 7, box(0, 0, 3, 3))])
    values = json.loads(path.read_text())
    values["images"][0] |= {"height": size[0], "width": size[1]}
    path.write_text(json.dumps(values))
    found = read_coco(tmp_path, SourceOptions())
    written = f"{size[1]}x{size[0]} in instances_train.json"
    message = f"'a' has a different size: {written}, 10x8 px in its file"
    with pytest.raises(DataError, match=f"{message}.*Correct the annotations"):
        found.mask_drawer.draw("a", (8, 10))
    report = check_data(tmp_path)
    assert report.errors == () and report.masks == 0 and message in " ".join(report.warnings)


def test_the_size_of_the_stored_pixels_of_a_turned_photo(tmp_path):
    write_coco(tmp_path, "train", {1: "a.jpg"}, [coco_annotation(1, 7, box(0, 0, 3, 3))])
    found = read_coco(tmp_path, SourceOptions())
    with pytest.raises(
        DataError, match=r"10x8 in instances_train\.json, 8x10 px in its file.*EXIF orientation"
    ):
        found.mask_drawer.draw("a", (10, 8))


def test_an_unknown_category_is_named_when_drawn(tmp_path):
    write_coco(
        tmp_path,
        "train",
        {1: "a.jpg", 2: "b.jpg"},
        [coco_annotation(1, 9, box(0, 0, 3, 3)), coco_annotation(2, "7", box(0, 0, 3, 3))],
    )
    masks = read_coco(tmp_path, SourceOptions()).mask_drawer
    with pytest.raises(DataError, match=r"photo 'a' is of the unknown category 9.*`categories`"):
        masks.draw("a", (8, 10))
    assert masks.draw("b", (8, 10))[0, 0] == 2  # an id as text is read as a number, as for tags
