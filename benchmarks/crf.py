"""Time of the dense CRF: against pydensecrf, one thread each, and two threads against one."""

from __future__ import annotations

import importlib.util

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage import data

from benchmarks.measure import Row, side_by_side
from tag2mask.crf.dense_crf import PUBLISHED_CRF, DenseCrf

SIZE = (375, 500)
Photo = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]


def vs_pydensecrf_2(*, toy: bool = False) -> Row | str:
    """Compare the CRFs on one class and the background."""
    return _vs_pydensecrf(2, toy=toy)


def vs_pydensecrf_4(*, toy: bool = False) -> Row | str:
    """Compare the CRFs on three classes and the background."""
    return _vs_pydensecrf(4, toy=toy)


def vs_pydensecrf_21(*, toy: bool = False) -> Row | str:
    """Compare the CRFs on VOC's 20 classes and the background."""
    return _vs_pydensecrf(21, toy=toy)


def two_threads_vs_one(*, toy: bool = False) -> Row:
    """Compare two threads with one, on four classes."""
    image, scores = inputs(4, toy=toy)
    return side_by_side(
        lambda: ours(image, scores, threads=2),
        lambda: ours(image, scores),
        seconds=0 if toy else 15,
    )


def inputs(classes: int, *, toy: bool = False) -> tuple[Photo, Scores]:
    """Return a real photo of VOC's size, uint8 (h, w, 3), and random scores (k, h, w)."""
    height, width = (24, 32) if toy else SIZE
    image = np.array(Image.fromarray(data.astronaut()).resize((width, height)))
    return image, np.random.default_rng(0).random((classes, height, width), np.float32)


def ours(image: Photo, scores: Scores, *, threads: int = 1) -> Scores:
    """Refine scores (k, h, w): kernels and ten iterations."""
    return DenseCrf(image, PUBLISHED_CRF, threads=threads).refine(scores)


def theirs(image: Photo, scores: Scores) -> Scores:
    """Compute the same with pydensecrf."""
    from pydensecrf.densecrf import DenseCRF2D

    crf = PUBLISHED_CRF
    model = DenseCRF2D(scores.shape[2], scores.shape[1], len(scores))
    unary = -np.log(np.clip(scores, 1e-5, 1))
    model.setUnaryEnergy(unary.reshape(len(scores), -1))
    model.addPairwiseGaussian(sxy=crf.gaussian_sxy, compat=crf.gaussian_weight)
    model.addPairwiseBilateral(
        sxy=crf.bilateral_sxy, srgb=crf.bilateral_srgb, rgbim=image, compat=crf.bilateral_weight
    )
    return np.array(model.inference(crf.iterations)).reshape(scores.shape)


def _vs_pydensecrf(classes: int, *, toy: bool) -> Row | str:
    if importlib.util.find_spec("pydensecrf") is None:
        return "pydensecrf2 is not installed (pip install pydensecrf2, with a C++ compiler)"
    image, scores = inputs(classes, toy=toy)
    return side_by_side(
        lambda: ours(image, scores), lambda: theirs(image, scores), seconds=0 if toy else 20
    )
