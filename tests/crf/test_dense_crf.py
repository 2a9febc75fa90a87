import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from skimage.transform import resize

from tag2mask.crf import mean_field_update
from tag2mask.crf.dense_crf import PUBLISHED_CRF, DenseCrf
from tag2mask.errors import DataError, RecipeError

SMALL = replace(PUBLISHED_CRF, gaussian_sxy=2.0, bilateral_sxy=10.0, bilateral_srgb=40.0)


def photo_of(size, kind="photo", seed=0):
    """Return a photo, uint8 (h, w, 3): real, of one color, or noise."""
    if kind == "photo":
        return np.array(Image.fromarray(data.astronaut()).resize(size[::-1]))
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (1, 1, 3) if kind == "flat" else (*size, 3), np.uint8) * np.ones(
        (*size, 1), np.uint8
    )


def scores_of(classes, size, seed=0):
    """Return smooth maps with some noise, float32 (k, h, w)."""
    rng = np.random.default_rng(seed)
    coarse = resize(rng.random((classes, 4, 5)), (classes, *size), order=1)
    return (0.8 * coarse + 0.2 * rng.random((classes, *size))).astype(np.float32)


def published(image, scores, crf=PUBLISHED_CRF):
    """Return the marginals of pydensecrf, the C++ code."""
    densecrf = pytest.importorskip(
        "pydensecrf.densecrf", reason="pydensecrf2 is not installed; it needs a C++ compiler"
    )
    (k, h, w), unary = scores.shape, -np.log(np.clip(scores, 1e-5, 1))
    model = densecrf.DenseCRF2D(w, h, k)
    model.setUnaryEnergy(np.ascontiguousarray(unary.reshape(k, -1)))
    model.addPairwiseGaussian(sxy=crf.gaussian_sxy, compat=crf.gaussian_weight)
    model.addPairwiseBilateral(
        sxy=crf.bilateral_sxy,
        srgb=crf.bilateral_srgb,
        rgbim=np.ascontiguousarray(image),
        compat=crf.bilateral_weight,
    )
    return np.array(model.inference(crf.iterations)).reshape(k, h, w)


def exact(image, scores, crf):
    """Compute mean field with the Gaussians of all pairs, in float64; for tiny photos."""
    k, h, w = scores.shape
    place = np.indices((h, w)).reshape(2, -1)
    color = image.reshape(-1, 3).T / crf.bilateral_srgb
    kernels = 0.0
    for weight, features in (
        (crf.gaussian_weight, place / crf.gaussian_sxy),
        (crf.bilateral_weight, np.concatenate([place / crf.bilateral_sxy, color])),
    ):
        kernel = np.exp(-np.square(features[:, :, None] - features[:, None]).sum(0) / 2)
        norm = 1 / np.sqrt(kernel.sum(1))
        kernels = kernels + weight * kernel * norm[:, None] * norm
    log_scores = np.log(np.clip(scores.reshape(k, -1).astype(float), 1e-5, 1))
    logits = log_scores
    for _ in range(crf.iterations):
        marginals = np.exp(logits - logits.max(0))
        logits = log_scores + marginals / marginals.sum(0) @ kernels
    marginals = np.exp(logits - logits.max(0))
    return (marginals / marginals.sum(0)).reshape(k, h, w)


@pytest.mark.parametrize("kind", ["photo", "flat", "noise"])
@pytest.mark.parametrize(
    ("size", "classes"),
    [
        ((1, 1), 2),
        ((1, 1), 21),
        ((1, 40), 3),
        ((60, 1), 2),
        ((7, 5), 6),
        ((33, 47), 2),
        ((64, 80), 4),
        ((40, 30), 21),
        pytest.param((375, 500), 2, marks=pytest.mark.slow),
        pytest.param((375, 500), 21, marks=pytest.mark.slow),
        pytest.param((700, 500), 3, marks=pytest.mark.slow),
    ],
)
def test_same_answer_as_pydensecrf(size, classes, kind):
    image, scores = photo_of(size, kind), scores_of(classes, size)
    expected = published(image, scores)
    got = DenseCrf(image, PUBLISHED_CRF).refine(scores)
    assert np.abs(got - expected).mean() < 1e-4
    assert (got.argmax(0) == expected.argmax(0)).mean() > 0.999


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    classes=st.integers(1, 21),
    kind=st.sampled_from(["photo", "flat", "noise"]),
    seed=st.integers(0, 2**16),
    sure=st.booleans(),
)
def test_same_answer_as_pydensecrf_whatever_the_photo(size, classes, kind, seed, sure):
    image, scores = photo_of(size, kind, seed), scores_of(classes, size, seed)
    if sure:  # scores of exactly 0 and 1
        rng = np.random.default_rng(seed)
        scores[rng.random(scores.shape) < 0.1] = 0.0
        scores[rng.random(scores.shape) < 0.1] = 1.0
    expected, got = published(image, scores), DenseCrf(image, PUBLISHED_CRF).refine(scores)
    # Nearly always 1e-6. For a pixel on the border of two cells of the lattice, the last bit of its
    # features decides which corners exist for the blur.
    assert np.abs(got - expected).mean() < 3e-3
    assert (got.argmax(0) == expected.argmax(0)).mean() > 0.99


@pytest.mark.parametrize(
    "crf",
    [
        SMALL,
        replace(PUBLISHED_CRF, iterations=1, bilateral_sxy=32.0),
        replace(PUBLISHED_CRF, iterations=0),
        replace(PUBLISHED_CRF, gaussian_weight=0.5, bilateral_weight=2.5, bilateral_srgb=3.0),
    ],
)
def test_same_answer_as_pydensecrf_with_other_settings(crf):
    image, scores = photo_of((50, 70)), scores_of(3, (50, 70))
    np.testing.assert_allclose(
        DenseCrf(image, crf).refine(scores), published(image, scores, crf), atol=2e-3
    )


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_nearly_the_answer_of_exact_gaussians(classes):
    image, scores = photo_of((24, 30)), scores_of(classes, (24, 30))
    few = replace(SMALL, iterations=2)  # more iterations amplify the error of the lattice
    expected = exact(image, scores, few)
    got = DenseCrf(image, few).refine(scores)
    assert np.abs(got - expected).mean() < 0.02
    assert (got.argmax(0) == expected.argmax(0)).mean() > 0.97


@st.composite
def tasks(draw):
    seed = draw(st.integers(0, 2**32 - 1))
    size = (draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    kind = draw(st.sampled_from(["flat", "noise"]))
    scores = scores_of(draw(st.integers(1, 9)), size, seed)
    scores[np.random.default_rng(seed).random(scores.shape) < 0.2] = draw(
        st.sampled_from([0.0, 1.0, -3.0, 7.0, np.inf])
    )
    return photo_of(size, kind, seed), scores


@given(tasks(), st.integers(0, 4))
@settings(max_examples=30, deadline=None)
def test_marginals_sum_to_one_whatever_the_scores(task, iterations):
    image, scores = task
    got = DenseCrf(image, replace(PUBLISHED_CRF, iterations=iterations)).refine(scores)
    assert got.dtype == np.float32 and got.shape == scores.shape
    assert (got >= 0).all()
    np.testing.assert_allclose(got.sum(0), 1, atol=1e-5)
    if len(scores) == 1:
        assert (got == 1).all()


@given(tasks(), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_classes_does_not_matter(task, seed):
    image, scores = task
    order = np.random.default_rng(seed).permutation(len(scores))
    crf = DenseCrf(image, replace(PUBLISHED_CRF, iterations=3))
    np.testing.assert_allclose(crf.refine(scores[order]), crf.refine(scores)[order], atol=2e-3)


@pytest.mark.parametrize("classes", [2, 4, 6])
@pytest.mark.parametrize("size", [(1, 1), (31, 47), (90, 120)])
def test_results_are_equal_for_any_number_of_threads(size, classes):
    image, scores = photo_of(size), scores_of(classes, size)
    alone = DenseCrf(image, PUBLISHED_CRF).refine(scores)
    for threads in (2, 5):
        np.testing.assert_array_equal(
            DenseCrf(image, PUBLISHED_CRF, threads=threads).refine(scores), alone
        )


def test_long_photos_are_processed_in_strips():
    size = (3, 2 * mean_field_update.STRIP // 3 + 7)
    image, scores = photo_of(size, "noise"), scores_of(2, size)
    part = DenseCrf(image[:, :500], PUBLISHED_CRF).refine(scores[:, :, :500])
    whole = DenseCrf(image, PUBLISHED_CRF).refine(scores)
    np.testing.assert_allclose(whole[:, :, :150], part[:, :, :150], atol=0.02)
    np.testing.assert_allclose(whole.sum(0), 1, atol=1e-5)


def test_one_photo_serves_several_score_maps_and_threads():
    image = photo_of((40, 50))
    maps = [scores_of(k, (40, 50), seed) for seed in range(6) for k in (2, 5)]
    expected = [DenseCrf(image, PUBLISHED_CRF).refine(scores) for scores in maps]
    crf = DenseCrf(image, PUBLISHED_CRF)
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(pool.map(crf.refine, maps), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_without_iterations_or_kernels_scores_are_only_normalized():
    image, scores = photo_of((9, 8)), scores_of(3, (9, 8))
    for crf in (
        replace(PUBLISHED_CRF, iterations=0),
        replace(PUBLISHED_CRF, gaussian_weight=0, bilateral_weight=0),
    ):
        np.testing.assert_allclose(
            DenseCrf(image, crf).refine(scores), scores / scores.sum(0), rtol=1e-5
        )


def test_inputs_are_not_changed_and_may_be_views():
    image, scores = photo_of((20, 30)), scores_of(3, (20, 30))
    kept = image.copy(), scores.copy()
    turned = DenseCrf(image[::-1, ::-1], PUBLISHED_CRF).refine(scores[:, ::-1, ::-1])
    copied = DenseCrf(image[::-1, ::-1].copy(), PUBLISHED_CRF).refine(scores[:, ::-1, ::-1].copy())
    np.testing.assert_array_equal(turned, copied)
    channels_last = np.moveaxis(np.moveaxis(scores, 0, 2).copy(), 2, 0)
    np.testing.assert_array_equal(
        DenseCrf(image, PUBLISHED_CRF).refine(channels_last),
        DenseCrf(image, PUBLISHED_CRF).refine(scores),
    )
    np.testing.assert_array_equal(image, kept[0])
    np.testing.assert_array_equal(scores, kept[1])


@pytest.mark.parametrize(
    ("image", "named"),
    [
        (np.zeros((4, 5), np.uint8), "(4, 5)"),
        (np.zeros((4, 5, 4), np.uint8), "(4, 5, 4)"),
        (np.zeros((4, 5, 3), np.float32), "float32"),
        (np.zeros((0, 5, 3), np.uint8), "(0, 5, 3)"),
        ([[1]], "list"),
    ],
)
def test_invalid_photos(image, named):
    with pytest.raises(DataError, match="RGB") as raised:
        DenseCrf(image, PUBLISHED_CRF)
    assert named in str(raised.value)


@pytest.mark.parametrize(
    ("scores", "named"),
    [
        (np.zeros((2, 5, 4), np.float32), "(2, 5, 4)"),
        (np.zeros((4, 5), np.float32), "(4, 5)"),
        (np.zeros((0, 4, 5), np.float32), "(0, 4, 5)"),
        (np.zeros((2, 4, 5)), "float64"),
        (np.full((2, 4, 5), np.nan, np.float32), "40 of the scores are NaN"),
        (None, "NoneType"),
    ],
)
def test_invalid_scores(scores, named):
    with pytest.raises(DataError, match="dense CRF") as raised:
        DenseCrf(np.zeros((4, 5, 3), np.uint8), PUBLISHED_CRF).refine(scores)
    assert named in str(raised.value)


@pytest.mark.parametrize(
    "values",
    [
        {"iterations": -1},
        {"gaussian_sxy": 0.0},
        {"bilateral_srgb": float("nan")},
        {"bilateral_weight": -1.0},
        {"bilateral_sxy": float("inf")},
    ],
)
def test_invalid_settings(values):
    with pytest.raises(RecipeError, match=next(iter(values))):
        replace(PUBLISHED_CRF, **values)


def test_kernels_far_too_narrow():
    with pytest.raises(DataError, match="srgb"):
        DenseCrf(
            photo_of((30, 40)), replace(PUBLISHED_CRF, bilateral_srgb=1e-4, bilateral_sxy=1e-4)
        )


FIRST_CRF = """
import time
import numpy as np
from tag2mask.crf.dense_crf import PUBLISHED_CRF, DenseCrf
start = time.process_time()
crf = DenseCrf(np.zeros((20, 30, 3), np.uint8), PUBLISHED_CRF)
crf.refine(np.full((3, 20, 30), 0.3, np.float32))
print(time.process_time() - start)
"""


@pytest.mark.slow
def test_compiling_takes_seconds_and_only_once(tmp_path):
    """Measure processor time, not wall time: about 4.5 s, then 0.3 s; without a C compiler."""
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PATH": "",
        "CC": "false",
        "CXX": "false",
    }
    first, again = (
        float(
            subprocess.run(
                [sys.executable, "-c", FIRST_CRF],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for _ in range(2)
    )
    assert any(tmp_path.rglob("*.nbc"))
    assert again < first < 10
    assert again < 2
