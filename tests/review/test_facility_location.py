"""Items that represent the others."""

from __future__ import annotations

import numpy as np

from tag2mask.review.facility_location import cosine_similarity, facility_location


def test_typical_photos_stand_for_many() -> None:
    features = np.random.default_rng(0).normal(0, 0.1, (9, 3)).astype(np.float32)
    features[:5, 0] += 1
    features[5:8, 1] += 1
    features[8, 2] += 1
    similarity, weights = cosine_similarity(features), np.ones(9, np.float32)
    first, second, third = facility_location(similarity, weights, 3)
    assert first < 5 <= second < 8 == third
    assert sorted(facility_location(similarity, weights, 9)) == list(range(9))
