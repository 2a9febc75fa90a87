"""Multi-scale maps of a photo equal the authors' (1e-4), including values far below 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tag2mask.seam.inference import PUBLISHED_INFERENCE, MultiScaleInference, PhotoMaps
from tag2mask.seam.network import SeamNet

TOLERANCE = 1e-4
BACKGROUND_THRESHOLD = 0.26


@pytest.fixture(scope="module")
def values(reference: Path) -> dict[str, NDArray[np.generic]]:
    with np.load(reference / "inference.npz") as arrays:
        return {name: arrays[name] for name in arrays}


@pytest.fixture(scope="module")
def maps(network: SeamNet, values: dict[str, NDArray[np.generic]]) -> PhotoMaps:
    photo = Image.fromarray(values["image"].astype(np.uint8))
    classes = tuple(int(tag) for tag in values["classes"])
    inference = MultiScaleInference(network, PUBLISHED_INFERENCE, torch.device("cpu"))
    return inference.maps([photo], [classes])[0]


def test_maps_equal_the_authors(maps: PhotoMaps, values: dict[str, NDArray[np.generic]]) -> None:
    np.testing.assert_allclose(maps.scores, values["cam"], atol=TOLERANCE, rtol=0)


def test_labels_equal_the_authors(maps: PhotoMaps, values: dict[str, NDArray[np.generic]]) -> None:
    background = np.full((1, *maps.scores.shape[1:]), BACKGROUND_THRESHOLD, np.float32)
    winner = np.concatenate([background, maps.scores]).argmax(axis=0)
    mask_ids = np.array([0, *(tag + 1 for tag in maps.tags)])
    np.testing.assert_array_equal(mask_ids[winner], values["labels_bg026"])
