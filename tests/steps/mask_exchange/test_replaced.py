"""Masks that were replaced in a step's folder don't pass for those of the step."""

import numpy as np
import pytest
from mask_folders import random_masks, write_images
from PIL import Image
from scenes import OneRank

from small_runs import NAMES, one_rank, recipe
from tag2mask.artifacts.handles import MASKS_MADE_BY
from tag2mask.classes import ClassSet
from tag2mask.errors import ProblemsError
from tag2mask.recipe.maps_to_masks import PseudoMasks
from tag2mask.report.model_card_text import imported_masks_text
from tag2mask.steps.mask_exchange.importing import ImportOptions, import_masks
from tag2mask.steps.mask_exchange.readers import find_mask_files
from tag2mask.steps.photo_loops.per_photo import check_masks_as_written
from tag2mask.steps.pseudo_masks import pseudo_masks
from tag2mask.steps.train_segmenter import train_segmenter

FIXED = PseudoMasks(threshold_from="fixed")


def test_masks_drawn_over_pseudo_masks_are_named(scene, tmp_path):
    masks = pseudo_masks(scene.data, scene.maps, FIXED, tmp_path / "masks", OneRank())
    check_masks_as_written(masks)
    paths = sorted((masks.path / "masks").rglob("*.png"))
    own = paths[0].read_bytes()
    pixels = np.asarray(Image.open(paths[0]))
    Image.fromarray(np.full_like(pixels, 1)).save(paths[0])
    id = paths[0].relative_to(masks.path / "masks").with_suffix("").as_posix()
    with pytest.raises(ProblemsError, match=r"replaced .*masks import FOLDER --drawn") as e:
        check_masks_as_written(masks)
    assert e.value.problems == (id,)
    # Making another mask again doesn't make the drawn one the step's own.
    paths[1].unlink()
    pseudo_masks(scene.data, scene.maps, FIXED, tmp_path / "masks", OneRank())
    with pytest.raises(ProblemsError, match="1 mask was replaced"):
        check_masks_as_written(masks)
    # The way out that the message names.
    paths[0].unlink()
    pseudo_masks(scene.data, scene.maps, FIXED, tmp_path / "masks", OneRank())
    check_masks_as_written(masks)
    assert paths[0].read_bytes() == own


def test_training_learns_from_masks_as_they_were_taken_in(data, tmp_path):
    folder = write_images(tmp_path / "drawn", random_masks(data))
    files = find_mask_files(folder, ClassSet(NAMES))
    masks = import_masks(files, data, ImportOptions("model:SAM"), tmp_path / "in")
    model = train_segmenter(data, masks, recipe().train_segmenter, tmp_path / "net", one_rank())
    assert model.manifest.metrics[MASKS_MADE_BY] == "model:SAM"
    write_images(masks.path / "masks", {"a/00": np.zeros((48, 64), np.uint8)})
    with pytest.raises(ProblemsError, match="1 mask was replaced after pseudo-masks wrote them"):
        train_segmenter(data, masks, recipe().train_segmenter, tmp_path / "net2", one_rank())


def test_the_model_card_says_who_made_the_masks():
    assert imported_masks_text("drawn") == "masks drawn or checked by people"
    assert imported_masks_text("model:SAM 3") == (
        "masks made by another model, SAM 3, and not checked by hand"
    )
