"""Evidence of good masks, by hand on small maps."""

from __future__ import annotations

import numpy as np
import pytest

from tag2mask.evaluation.evidence import (
    map_evidence,
    network_evidence,
    photo_qualities,
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


def test_a_small_uncertain_object_lowers_the_certainty() -> None:
    sure = map_evidence(cam_map([[[0.0] * 9 + [1.0]]]), 0.4)
    unsure = map_evidence(cam_map([[[0.0] * 9 + [0.55]]]), 0.4)
    assert sure["certainty"] == pytest.approx(1)
    # The background leads by 1; the object's score 0.55 leads 1 - 0.55 by 0.1.
    assert unsure["certainty"] == pytest.approx(soft_minimum(np.array([1.0, 0.1])), abs=1e-6)
    nothing = map_evidence(cam_map([[[0.0] * 9 + [0.3]]]), 0.4)
    assert nothing["certainty"] < unsure["certainty"]


def test_photos_without_a_tag_or_threshold_have_no_evidence_in_maps() -> None:
    assert map_evidence(cam_map([[[0.4]]]), None) == {}
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
    assert found["tag_agreement"] == pytest.approx((1 / 2 + 1 / 3) / 2), "not the wrong class"
    assert set(network_evidence(pseudo, network, (), classes=3)) == {"agreement"}
    assert network_evidence(np.full_like(pseudo, 255), network, (0,), classes=3) == {}


def test_a_tag_that_no_mask_shows_lowers_the_agreement() -> None:
    """Two masks that miss the same object agree, but on a mask that is wrong."""
    mask = np.array([[0, 0, 1, 1]], np.uint8)
    found = network_evidence(mask, mask, (0, 2), classes=3)
    assert found == {"agreement": pytest.approx(2 / 3), "tag_agreement": pytest.approx(2 / 3)}
    full = np.ones((1, 4), np.uint8)
    found = network_evidence(full, full, (0,), classes=3)
    assert found == {"agreement": 0.5, "tag_agreement": 0.5}, "a photo without background is rare"


def test_each_mask_has_a_score_of_its_own() -> None:
    best = {"certainty": 0.9, "tag_agreement": 0.9, "walk_agreement": 0.1, "agreement": 0.2}
    worst = {"certainty": 0.5, "tag_agreement": 0.5, "walk_agreement": 0.9, "agreement": 0.8}
    assert photo_qualities([best, worst, {}]) == [
        {"quality": 0.75, "network_quality": 0.25},
        {"quality": 0.25, "network_quality": 0.75},
        {"quality": None, "network_quality": None},
    ]


def test_without_a_network_the_walk_is_evidence() -> None:
    own = [{"certainty": 0.5, "walk_agreement": value} for value in (0.2, 0.4)]
    assert photo_qualities(own) == [
        {"quality": (0.5 + 0.25) / 2, "network_quality": None},
        {"quality": (0.5 + 0.75) / 2, "network_quality": None},
    ]
    assert photo_qualities([{"agreement": 1.0}]) == [{"quality": None, "network_quality": 0.5}]


def test_every_kind_has_a_name() -> None:
    pseudo = np.zeros((4, 4), np.uint8)
    found = (
        map_evidence(cam_map([[[0.9]]]), 0.4)
        | walk_evidence(cam_map([[[0.9]]]), 0.4, pseudo)
        | network_evidence(pseudo, pseudo, (0,), classes=3)
    )
    assert set(found) == set(EVIDENCE)
