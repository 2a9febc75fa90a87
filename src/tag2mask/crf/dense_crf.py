"""Dense CRF: sharpens score maps along the edges of the photo.

Krähenbühl & Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials"
(NIPS 2011, https://arxiv.org/abs/1210.5644). Each pair of pixels i, j with labels x is connected by
a Potts potential with two Gaussian kernels, one of position p and color I, and one of position
(section 2 of the paper)::

    E(x) = sum over i of -log score_i(x_i)  +  sum over i < j of [x_i != x_j] k(i, j)
    k(i, j) = bilateral_weight exp(-|p_i - p_j|^2 / (2 bilateral_sxy^2)
                                   -|I_i - I_j|^2 / (2 bilateral_srgb^2))
            + gaussian_weight exp(-|p_i - p_j|^2 / (2 gaussian_sxy^2))

Mean field (section 3, algorithm 1; `tag2mask.crf.mean_field_update`) approximates the marginals of
the labels. The sums over all pairs are Gaussian filters, computed on a permutohedral lattice.

Results agree with pydensecrf, a wrapper of the authors' C++ code, and follow its conventions:
scores need not sum to 1, kernels are normalized symmetrically, and a pixel is part of its own
message.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from tag2mask.crf.lattice_build import Float32
from tag2mask.crf.mean_field_update import MeanField
from tag2mask.crf.permutohedral import PermutohedralLattice
from tag2mask.errors import DataError, RecipeError
from tag2mask.runtime.compiled import Team


@dataclass(frozen=True)
class CrfSettings:
    """The two kernels and the number of mean-field iterations.

    Attributes:
        iterations: iterations of mean field; 0 only normalizes the scores.
        gaussian_sxy: standard deviation of the position kernel, px.
        gaussian_weight: weight of the position kernel; 0 switches it off.
        bilateral_sxy: standard deviation of position in the position and color kernel, px.
        bilateral_srgb: standard deviation of color in this kernel, in levels of 0..255.
        bilateral_weight: weight of this kernel; 0 switches it off.

    Raises:
        RecipeError: a value out of range.
    """

    iterations: int
    gaussian_sxy: float
    gaussian_weight: float
    bilateral_sxy: float
    bilateral_srgb: float
    bilateral_weight: float

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value, zero = getattr(self, name), name == "iterations" or name.endswith("weight")
            if not (math.isfinite(value) and (value > 0 or (zero and value == 0))):
                raise RecipeError(
                    f"{value} is not a valid setting of the dense CRF",
                    where=name,
                    fix=f"Set a finite number {'>= 0' if zero else '> 0'}.",
                )


PUBLISHED_CRF = CrfSettings(
    iterations=10,
    gaussian_sxy=3.0,
    gaussian_weight=3.0,
    bilateral_sxy=80.0,
    bilateral_srgb=13.0,
    bilateral_weight=10.0,
)
"""Settings of the code of AffinityNet and SEAM for activation maps."""


class DenseCrf:
    """Dense CRF of one photo; its kernels serve any number of score maps.

    Krähenbühl and Koltun, NIPS 2011 (https://arxiv.org/abs/1210.5644). Mean field approximates the
    marginals of the labels x under the energy, with the kernels k of the module's docstring::

        E(x) = Σ_i -log score_i(x_i)  +  Σ_{i<j} [x_i != x_j] k(i, j)

    Several threads may use one instance. Results are bit for bit the same for any number of
    threads. Memory: about 200 bytes per pixel for the kernels, and during `refine` 16 bytes per
    pixel and class.

    Args:
        image: uint8 (h, w, 3), RGB.
        settings: kernels and iterations.
        threads: threads that share the work; 1 where many photos are refined in parallel.

    Raises:
        DataError: not such an image, or kernels far too narrow for it.

    Example:
        A photo of two colors, and scores that prefer class 0 on its left half except for one
        pixel, and class 1 on its right half. The CRF corrects this pixel and keeps the edge.

        >>> import numpy as np
        >>> from tag2mask.crf.dense_crf import CrfSettings, DenseCrf
        >>> image = np.zeros((4, 8, 3), np.uint8)
        >>> image[:, 4:] = 255
        >>> scores = np.full((2, 4, 8), 0.3, np.float32)
        >>> scores[0, :, :4] = scores[1, :, 4:] = 0.7
        >>> scores[:, 1, 1] = 0.3, 0.7
        >>> settings = CrfSettings(
        ...     iterations=5,
        ...     gaussian_sxy=3.0,
        ...     gaussian_weight=3.0,
        ...     bilateral_sxy=80.0,
        ...     bilateral_srgb=13.0,
        ...     bilateral_weight=10.0,
        ... )
        >>> DenseCrf(image, settings).refine(scores).argmax(axis=0)
        array([[0, 0, 0, 0, 1, 1, 1, 1],
               [0, 0, 0, 0, 1, 1, 1, 1],
               [0, 0, 0, 0, 1, 1, 1, 1],
               [0, 0, 0, 0, 1, 1, 1, 1]])
    """

    def __init__(
        self,
        image: npt.NDArray[np.uint8],
        settings: CrfSettings,
        *,
        threads: int = 1,
    ) -> None:
        if (
            not isinstance(image, np.ndarray)
            or image.dtype != np.uint8
            or image.ndim != 3
            or image.shape[2] != 3
            or not image.size
        ):
            raise DataError(
                f"the photo is {_form(image)}",
                where="dense CRF",
                fix="Give it as RGB: uint8 of shape (h, w, 3).",
            )
        assert threads >= 1
        self.settings, self.threads = settings, threads
        self._size = image.shape[:2]
        kernels = (
            (settings.gaussian_weight, _features(image, settings.gaussian_sxy)),
            (
                settings.bilateral_weight,
                _features(image, settings.bilateral_sxy, settings.bilateral_srgb),
            ),
        )
        # Sum over the classes of the messages to each pixel, float32 (n,).
        self._total = np.zeros(image.shape[0] * image.shape[1], np.float32)
        self._kernels: list[tuple[float, PermutohedralLattice]] = []
        with Team(threads) as team:
            for weight, features in kernels:
                if weight > 0:
                    lattice = PermutohedralLattice(features, team)
                    lattice.normalize(team)
                    ones = np.ones(lattice.pixels, np.float32)
                    self._total += np.float32(weight) * lattice.filter(ones, team)
                    self._kernels.append((weight, lattice))

    def refine(self, scores: Float32) -> Float32:
        """Return the marginal probabilities of k classes (including any background).

        Args:
            scores: float32 (k, h, w) at the photo's size, k at least 1; clipped to 1e-5..1.

        Returns:
            float32 (k, h, w) in [0, 1] that sums to 1 over k.

        Raises:
            DataError: another shape or type, or NaN among the scores.
        """
        if (
            not isinstance(scores, np.ndarray)
            or scores.dtype != np.float32
            or scores.ndim != 3
            or not len(scores)
            or scores.shape[1:] != self._size
        ):
            height, width = self._size
            raise DataError(
                f"the scores are {_form(scores)}",
                where="dense CRF",
                fix=f"Give them as float32 of shape (k, {height}, {width}), k >= 1.",
            )
        if np.isnan(scores).any():
            raise DataError(
                f"{np.isnan(scores).sum()} of the scores are NaN",
                where="dense CRF",
                fix="Compute the maps again.",
            )
        if len(scores) == 1:
            return np.ones_like(scores)
        marginals = np.empty(scores.shape, np.float32)
        with Team(self.threads) as team:
            field = MeanField(scores.reshape(len(scores), -1), self._kernels, team)  # (k, n)
            for iteration in range(self.settings.iterations + 1):
                if iteration:
                    field.filter()
                last = iteration == self.settings.iterations
                field.update(
                    self._total if iteration else np.zeros_like(self._total),
                    marginals.reshape(len(scores), -1) if last else None,
                )
        return marginals


def _features(image: npt.NDArray[np.uint8], sxy: float, srgb: float | None = None) -> Float32:
    """Return the features of all pixels for one kernel: x, y, then r, g, b; float32 (2 or 5, n)."""
    height, width = image.shape[:2]
    features = np.empty((2 if srgb is None else 5, height, width), np.float32)
    features[0] = np.arange(width, dtype=np.float32) / np.float32(sxy)
    features[1] = (np.arange(height, dtype=np.float32) / np.float32(sxy))[:, None]
    if srgb is not None:
        np.divide(np.moveaxis(image, 2, 0), np.float32(srgb), out=features[2:])
    return features.reshape(len(features), -1)


def _form(array: object) -> str:
    """Describe the type and shape of an argument that isn't the expected array."""
    if isinstance(array, np.ndarray):
        return f"{array.dtype} of shape {array.shape}"
    return f"a {type(array).__name__}"
