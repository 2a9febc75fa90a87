"""Folders of masks: what is taken from a run, a step's folder and a folder of PNGs."""

import json

import numpy as np
import pytest
from mask_folders import random_masks, write_images, write_step

from small_runs import NAMES
from tag2mask.artifacts.handles import PseudoMaskFolder
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.errors import DataError, RunFolderError
from tag2mask.steps.mask_exchange.sources import open_masks


@pytest.fixture
def masks(data):
    return random_masks(data)


@pytest.fixture
def run(tmp_path, data, masks):
    """A run folder with the masks of both steps and an evaluation's rows."""
    write_step(tmp_path / "predict", masks, data)
    write_step(tmp_path / "pseudo-masks", masks, data, PseudoMaskFolder)
    rows = [
        {"id": id, "quality": 1 - place / 20, "network_quality": place / 20}
        for place, id in enumerate(masks)
    ]
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate/photos.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in rows))
    return tmp_path


def test_masks_of_a_run_know_their_photos_splits_and_scores(run, masks):
    found = open_masks(run)
    assert found.what == "predict" and found.classes.names == NAMES
    assert found.data == run / "photos" and found.without == ()
    assert [mask.split for mask in found.masks] == ["train"] * 9 + ["val"] * 3
    for mask in found.masks:
        np.testing.assert_array_equal(mask.read(3), masks[mask.id])
        assert mask.photo == run / f"photos/{mask.id}.png"
        assert mask.size() == masks[mask.id].shape
        assert mask.score == list(masks).index(mask.id) / 20


def test_of_chooses_the_step(run, masks):
    pseudo = open_masks(run, of="pseudo-masks")
    assert pseudo.what == "pseudo-masks"
    scores = {mask.id: mask.score for mask in pseudo.masks}
    assert scores == {id: 1 - place / 20 for place, id in enumerate(masks)}, "not the network's"
    (run / "predict/manifest.json").rename(run / "predict/started.json")
    assert open_masks(run).what == "pseudo-masks"
    with pytest.raises(RunFolderError, match="predict is unfinished"):
        open_masks(run, of="predict")


def test_runs_inside_a_run_are_not_its_masks(run, data, masks):
    """The demo's baseline is a run in the folder of the other run."""
    others = {id: np.zeros_like(mask) for id, mask in masks.items()}
    write_step(run / "cam-baseline/predict", others, data)
    found = open_masks(run)
    assert found.folder == run / "predict" and len(found.masks) == len(masks)
    assert open_masks(run / "cam-baseline").folder == run / "cam-baseline/predict"


def test_photos_without_a_mask_are_named(tmp_path, data, masks):
    id, *_ = masks
    del masks[id]
    assert open_masks(write_step(tmp_path / "some", masks, data).path).without == (id,)


def test_predictions_of_any_photos_need_their_folder(tmp_path, data, masks):
    folder = write_step(tmp_path / "labeled", masks, None, classes=list(NAMES)).path
    found = open_masks(folder)
    assert found.classes.names == NAMES and {mask.photo for mask in found.masks} == {None}
    assert {mask.split for mask in found.masks} == {None}
    assert found.masks[0].size() == masks[found.masks[0].id].shape
    found = open_masks(folder, photos=tmp_path / "photos")
    assert [mask.photo for mask in found.masks] == [
        tmp_path / f"photos/{mask.id}.png" for mask in found.masks
    ]
    (tmp_path / "photos/a/00.png").unlink()
    with pytest.raises(DataError, match=r"1 of 12 masks have no photo .*\n  - a/00"):
        open_masks(folder, photos=tmp_path / "photos")


def test_lost_masks_are_named(run):
    (run / "predict/masks/a/00.png").unlink()
    with pytest.raises(DataError, match=r"1 masks of predict are missing .*\n  - a/00"):
        open_masks(run)


def test_png_masks_need_a_class_list(tmp_path, masks):
    folder = write_images(tmp_path / "drawn/masks", masks)
    with pytest.raises(DataError, match=r"classes of these masks aren't known.*--classes FILE"):
        open_masks(folder)
    (tmp_path / "names.txt").write_text("background\ncat\ndog\nbird\n")
    assert open_masks(folder, classes=tmp_path / "names.txt").classes.names == NAMES
    (tmp_path / "drawn/classes.txt").write_text("cat\ndog\nbird\n")
    found = open_masks(folder)
    assert found.what == "masks" and {mask.id for mask in found.masks} == set(masks)
    np.testing.assert_array_equal(found.masks[0].read(3), masks[found.masks[0].id])


def test_folders_without_masks_are_errors(tmp_path, run):
    with pytest.raises(RunFolderError, match="no such folder of masks"):
        open_masks(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match="a folder of prepare holds no masks"):
        open_masks(run / "prepare")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/classes.txt").write_text("cat\n")
    with pytest.raises(DataError, match="no mask in the folder"):
        open_masks(tmp_path / "empty")
    (tmp_path / "empty/photo.jpg").touch()
    with pytest.raises(DataError, match=r"none of its 1 image is a PNG .*Give a run"):
        open_masks(tmp_path / "empty")
    with pytest.raises(RunFolderError, match="isn't a run, so --of chooses nothing"):
        open_masks(tmp_path / "empty", of="predict")


def test_a_mask_of_another_size_than_its_photo_is_an_error(run, masks):
    write_images(run / "predict/masks", {"a/00": np.zeros((5, 7), np.uint8)})
    found = open_masks(run)
    mask = next(mask for mask in found.masks if mask.id == "a/00")
    with pytest.raises(DataError, match="the mask is 7x5 px, its photo 64x48"):
        mask.read(3)


def test_corrections_are_masks_that_were_drawn_or_accepted(run, masks):
    with open_corrections(run / "corrections", ClassSet(NAMES)) as writer:
        writer.write(Decision("a/00", "corrected"), masks["a/00"])
        writer.write(Decision("b/03", "good"), masks["b/03"])
        writer.write(Decision("b/01", "bad"))
    found = open_masks(run / "corrections")
    assert found.what == "corrections" and found.classes.names == NAMES
    assert [(mask.id, mask.split) for mask in found.masks] == [("a/00", "train"), ("b/03", "val")]
    assert found.masks[0].photo == run / "photos/a/00.png" and found.data == run / "photos"
    np.testing.assert_array_equal(found.masks[1].read(3), masks["b/03"])
