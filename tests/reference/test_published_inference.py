"""Multi-scale maps of a photo equal the authors' (1e-4), including values far below 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reference.inputs import Arrays, at_stored_pixels, reference_values
from tag2mask.seam.multi_scale_inference import PUBLISHED_INFERENCE, MultiScaleInference, PhotoMaps
from tag2mask.seam.network import SeamNet

TOLERANCE = 1e-4
BACKGROUND_THRESHOLD = 0.26


@pytest.fixture(scope="module")
def values(reference: Path) -> Arrays:
    return reference_values(reference, "inference.npz")


@pytest.fixture(scope="module")
def maps(network: SeamNet, values: Arrays) -> PhotoMaps:
    photo = Image.fromarray(values["image"].astype(np.uint8))
    classes = tuple(int(tag) for tag in values["classes"])
    inference = MultiScaleInference(network, PUBLISHED_INFERENCE, torch.device("cpu"))
    return inference.maps([photo], [classes])[0]


def test_maps_equal_the_authors(maps: PhotoMaps, values: Arrays) -> None:
    stored = values["cam"]
    np.testing.assert_allclose(
        at_stored_pixels(maps.scores, stored), stored, atol=TOLERANCE, rtol=0
    )


def test_labels_equal_the_authors(maps: PhotoMaps, values: Arrays) -> None:
    background = np.full((1, *maps.scores.shape[1:]), BACKGROUND_THRESHOLD, np.float32)
    winner = np.concatenate([background, maps.scores]).argmax(axis=0)
    mask_ids = np.array([0, *(tag + 1 for tag in maps.tags)])
    np.testing.assert_array_equal(mask_ids[winner], values["labels_bg026"])
