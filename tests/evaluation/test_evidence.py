"""Evidence of good masks, by hand on small maps."""

from __future__ import annotations

import numpy as np
import pytest

from tag2mask.evaluation.evidence import (
    map_evidence,
    network_evidence,
    walk_evidence,
)
from tag2mask.evaluation.records import EVIDENCE
from tag2mask.maps.cam_map import CamMap
from tag2mask.metrics.quality import soft_minimum

pytestmark = pytest.mark.smoke


def cam_map(scores: list[list[list[float]]], tags: tuple[int, ...] = (0,)) -> CamMap:
    array = np.array(scores, np.float32).reshape(len(tags), *np.shape(scores)[1:])
    height, width = array.shape[1:]
    probabilities = np.array([0.9, 0.6, 0.2], np.float32)
    return CamMap("a", tags, array, (2 * height, 2 * width), probabilities)


def test_the_least_probable_tag_counts() -> None:
    assert map_evidence(cam_map([[[0.4]], [[0.2]]], (0, 1)), None) == {
        "tag_probability": pytest.approx(0.6)
    }


def test_a_small_uncertain_object_lowers_the_certainty() -> None:
    sure = map_evidence(cam_map([[[0.0] * 9 + [1.0]]]), 0.4)
    unsure = map_evidence(cam_map([[[0.0] * 9 + [0.55]]]), 0.4)
    assert sure["certainty"] == pytest.approx(1)
    # The background leads by 1; the object's score 0.55 leads 1 - 0.55 by 0.1.
    assert unsure["certainty"] == pytest.approx(soft_minimum(np.array([1.0, 0.1])), abs=1e-6)
    nothing = map_evidence(cam_map([[[0.0] * 9 + [0.3]]]), 0.4)
    assert nothing["certainty"] < unsure["certainty"]


def test_masks_that_hardly_depend_on_the_threshold_are_stable() -> None:
    steep, flat = cam_map([[[0.0, 0.0, 1.0, 1.0]]]), cam_map([[[0.0, 0.3, 0.5, 1.0]]])
    assert map_evidence(steep, 0.4)["stability"] == 1
    # At 0.2 three cells are foreground, at 0.6 one is.
    assert map_evidence(flat, 0.4)["stability"] == pytest.approx((1 / 3 + 1 / 3) / 2)
    assert 0 <= map_evidence(flat, 0.05)["stability"] <= 1, "a threshold below 0"


def test_photos_without_a_tag_have_no_evidence_in_maps() -> None:
    empty = CamMap("a", (), np.zeros((0, 2, 2), np.float32), (4, 4), np.ones(3, np.float32))
    assert map_evidence(empty, 0.4) == {} == walk_evidence(empty, 0.4, np.zeros((4, 4), np.uint8))


def test_masks_before_and_after_the_walk_are_compared_at_the_centers_of_the_cells() -> None:
    pseudo = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 255], [0, 0, 255, 255]], np.uint8)
    before = cam_map([[[0.9, 0.0], [0.9, 0.0]]])
    # Of the cells (1, 0; 1, 0), the second row is background, and its last cell is ignored.
    expected = (1 / 2 + 1 / 2) / 2
    assert walk_evidence(before, 0.4, pseudo) == {"walk_agreement": pytest.approx(expected)}
    assert walk_evidence(before, 0.4, np.full((4, 4), 255, np.uint8)) == {}


def test_the_network_agrees_with_the_pseudo_mask() -> None:
    pseudo = np.array([[0, 0, 1, 1]], np.uint8)
    network = np.array([[0, 1, 1, 2]], np.uint8)
    found = network_evidence(pseudo, network, (0,), classes=3)
    assert found["agreement"] == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)
    assert found["tag_agreement"] == pytest.approx(1 / 3)
    assert network_evidence(pseudo, network, (2,), classes=3)["tag_agreement"] == 0
    assert set(network_evidence(pseudo, network, (), classes=3)) == {"agreement"}


def test_every_kind_has_a_name() -> None:
    pseudo = np.zeros((4, 4), np.uint8)
    found = (
        map_evidence(cam_map([[[0.9]]]), 0.4)
        | walk_evidence(cam_map([[[0.9]]]), 0.4, pseudo)
        | network_evidence(pseudo, pseudo, (0,), classes=3)
    )
    assert set(found) == set(EVIDENCE)
