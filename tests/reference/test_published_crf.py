"""Results of pydensecrf: labels equal on 99.5 % of the pixels, marginals within .02 on average."""

import numpy as np
import pytest

from tag2mask.crf.dense_crf import PUBLISHED_CRF, DenseCrf


@pytest.fixture(scope="module")
def values(reference):
    with np.load(reference / "crf.npz") as arrays:
        return {name: arrays[name] for name in arrays}


@pytest.fixture(scope="module")
def crf(values):
    return DenseCrf(values["image"], PUBLISHED_CRF)


@pytest.mark.parametrize("alpha", [4, 24])
def test_marginals_and_labels(values, crf, alpha):
    maps = values["cam"].astype(np.float32)
    background = (1 - maps.max(axis=0, keepdims=True)) ** alpha
    marginals = crf.refine(np.concatenate([background, maps]))
    assert np.abs(marginals - values[f"crf_alpha{alpha}"]).mean() < 0.02
    assert (marginals.argmax(axis=0) == values[f"labels_alpha{alpha}"]).mean() >= 0.995
