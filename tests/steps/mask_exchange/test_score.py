"""Scores of masks against masks: equal to the counts of all pixels, whatever the folders."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mask_folders import random_masks, write_images, write_step

from tag2mask.errors import DataError
from tag2mask.metrics.boundary_iou import BoundaryCounts
from tag2mask.metrics.confusion import Confusion
from tag2mask.steps.mask_exchange.score import (
    comparison_table,
    matched_ids,
    plot_comparison,
    score_masks,
    write_comparison,
)
from tag2mask.steps.mask_exchange.sources import open_masks


@pytest.fixture
def folders(tmp_path, data):
    """Predicted masks without ignored pixels, and other masks as PNGs named without folders."""
    made = {id: np.where(mask == 255, 0, mask) for id, mask in random_masks(data, 1).items()}
    true = random_masks(data, 2)
    made = {id: mask.astype(np.uint8) for id, mask in made.items()}
    write_step(tmp_path / "predict", made, data)
    write_images(tmp_path / "true", {id.partition("/")[2]: mask for id, mask in true.items()})
    return made, true


def scored(root, **options):
    own = open_masks(root / "predict")
    return score_masks(own, open_masks(root / "true", otherwise=own.classes), 0.02, **options)


def test_scores_are_those_of_all_pixels(tmp_path, folders):
    made, true = folders
    confusion, boundary = Confusion.empty(3), BoundaryCounts.empty(3)
    photos = {}
    for id, mask in made.items():
        own = Confusion.empty(3)
        own.add(true[id], mask)
        confusion.merge(own)
        boundary.add(true[id], mask, 0.02)
        photos[id] = own.miou()
    found = scored(tmp_path)
    assert found.scores.photos == 12 and found.scores.miou == pytest.approx(confusion.miou())
    assert found.scores.boundary_miou == pytest.approx(boundary.miou())
    assert np.array_equal(found.scores.confusion, confusion.counts)
    assert {photo.id: photo.miou for photo in found.photos} == pytest.approx(photos)
    assert [photo.miou for photo in found.photos] == sorted(photo.miou for photo in found.photos)
    assert found.ignored_share == 0 and found.only_made == found.only_true == ()


def test_equal_masks_score_one_and_ignored_pixels_are_void(tmp_path, data):
    true = {id: np.where(mask == 255, 0, mask) for id, mask in random_masks(data).items()}
    true = {id: mask.astype(np.uint8) for id, mask in true.items()}
    made = {id: mask.copy() for id, mask in true.items()}
    for mask in made.values():
        mask[:12] = 255
    write_step(tmp_path / "predict", made, data)
    write_images(tmp_path / "true", true)
    found = scored(tmp_path)
    assert found.scores.miou == found.scores.boundary_miou == 1.0
    pixels = sum(mask.size for mask in true.values())
    ignored = sum(12 * mask.shape[1] for mask in true.values())
    assert found.ignored_share == pytest.approx(ignored / pixels)
    assert "ignored pixels" in comparison_table(found)


def test_masks_that_only_one_folder_has_are_listed(tmp_path, folders):
    (tmp_path / "true/00.png").rename(tmp_path / "true/other.png")
    found = scored(tmp_path)
    assert found.only_made == ("a/00",) and found.only_true == ("other",)
    assert found.scores.photos == 11


def test_sizes_and_classes_must_agree(tmp_path, folders):
    write_images(tmp_path / "true", {"00": np.zeros((4, 6), np.uint8)})
    (tmp_path / "true/01.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2 masks can't be compared.*") as caught:
        scored(tmp_path)
    assert "a/00: 64x48 px, the true mask 6x4" in str(caught.value)
    assert "b/01: " in str(caught.value)
    (tmp_path / "true/classes.txt").write_text("dog\ncat\nbird\n")
    with pytest.raises(DataError, match="the masks have the classes cat, dog, bird, those to"):
        scored(tmp_path)


def test_folders_of_other_photos_are_an_error(tmp_path, folders):
    for path in (tmp_path / "true").glob("*.png"):
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(DataError, match="no mask has the name of one in"):
        scored(tmp_path)


def test_files(tmp_path, folders):
    found = scored(tmp_path)
    write_comparison(found, tmp_path / "scores.json")
    values = json.loads((tmp_path / "scores.json").read_text())
    assert values["scores"]["miou"] == found.scores.miou and len(values["photos"]) == 12
    plot_comparison(found, tmp_path / "scores.png")
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
    table = comparison_table(found)
    assert f"| {found.photos[0].id} " in table and "| bird " in table


PARTS = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map("/".join)


@given(st.sets(PARTS), st.sets(PARTS))
def test_ids_match_exactly_or_by_their_end_alone(ids, others):
    found = matched_ids(sorted(ids), sorted(others))
    assert {id for id in found if found[id] == id} == ids & others
    assert len(set(found.values())) == len(found)
    for id, other in found.items():
        assert id == other or id.endswith(f"/{other}") or other.endswith(f"/{id}")


def test_ids_that_may_be_several_are_not_matched():
    assert matched_ids(["x/1", "y/1"], ["1"]) == {}
    assert matched_ids(["1"], ["x/1", "y/1"]) == {}
    assert matched_ids(["x/1", "2"], ["1", "y/2"]) == {"x/1": "1", "2": "y/2"}
