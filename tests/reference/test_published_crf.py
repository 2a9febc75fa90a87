"""Marginals and labels of pydensecrf, the C++ code that the authors call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reference.inputs import Arrays, reference_values
from tag2mask.crf.dense_crf import PUBLISHED_CRF, DenseCrf

TOLERANCE = 3e-4
"""Of each pixel's marginals, which are stored as float16."""


@pytest.fixture(scope="module")
def values(reference: Path) -> Arrays:
    return reference_values(reference, "crf.npz")


@pytest.fixture(scope="module")
def crf(values: Arrays) -> DenseCrf:
    return DenseCrf(values["image"], PUBLISHED_CRF)


@pytest.mark.parametrize("alpha", [4, 24])
def test_marginals_and_labels(values: Arrays, crf: DenseCrf, alpha: int) -> None:
    maps = values["cam"].astype(np.float32)
    background = (1 - maps.max(axis=0, keepdims=True)) ** alpha
    marginals = crf.refine(np.concatenate([background, maps]))
    labels = values[f"labels_alpha{alpha}"]
    assert len(np.unique(labels)) == len(marginals)
    np.testing.assert_allclose(marginals, values[f"crf_alpha{alpha}"], atol=TOLERANCE, rtol=0)
    assert (marginals.argmax(axis=0) != labels).mean() < 1e-4
