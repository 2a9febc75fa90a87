"""Dense CRF: sharpens score maps along the contours of the photo.

Krähenbühl & Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials"
(NIPS 2011). Every pixel is joined to every other by two Gaussian kernels, one of position and one
of position and color, with a Potts model, and is labeled by mean field (their algorithm 1). The
answers are held to those of the customary C++ code, pydensecrf, whose conventions are kept: unary
-log(score), scores not normalized, kernels normalized symmetrically, a pixel in its own message.

A pixel's marginals sum to 1 and the filters are linear. So the message of the last class follows
from those of the others and is never filtered, which halves the work for one class against the
background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import numpy.typing as npt

from tag2mask.crf.permutohedral import GROUP, PermutohedralLattice
from tag2mask.crf.permutohedral_loops import Float32
from tag2mask.errors import DataError, RecipeError
from tag2mask.runtime.compiled import BLOCK, Team, compiled

LOWEST_SCORE = 1e-5
"""Scores are clipped to LOWEST_SCORE..1, so that their logarithm is finite."""
STRIP = 64 * BLOCK
"""Pixels whose messages a thread holds at once: they fit a cache."""
LOG2_E = np.float32(math.log2(math.e))
TAYLOR = tuple(np.float32(math.log(2) ** i / math.factorial(i)) for i in range(7))
"""Of 2^x around 0."""


@dataclass(frozen=True)
class CrfSettings:
    """The two kernels and the number of mean-field iterations.

    Attributes:
        iterations: of mean field; 0: the scores, normalized.
        gaussian_sxy: standard deviation of the kernel of position, px.
        gaussian_weight: of that kernel; 0: without it.
        bilateral_sxy: standard deviation of position in the kernel of position and color, px.
        bilateral_srgb: standard deviation of color in that kernel, of 255 levels.
        bilateral_weight: of that kernel; 0: without it.

    Raises:
        RecipeError: a value out of range.
    """

    iterations: int = 10
    gaussian_sxy: float = 3.0
    gaussian_weight: float = 3.0
    bilateral_sxy: float = 80.0
    bilateral_srgb: float = 13.0
    bilateral_weight: float = 10.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value, zero = getattr(self, name), name == "iterations" or name.endswith("weight")
            if not (math.isfinite(value) and (value > 0 or (zero and value == 0))):
                raise RecipeError(
                    f"{value} is no setting of the dense CRF",
                    where=name,
                    fix=f"Set a finite number {'>= 0' if zero else '> 0'}.",
                )


DEFAULT_SETTINGS = CrfSettings()


class DenseCrf:
    """The CRF of one photo: kernels built once, for any number of score maps.

    Safe to use from several threads at once. The number of threads changes no bit of a result.
    Memory: about 200 bytes a pixel for the kernels, and 16 a pixel and class while it refines.

    Args:
        image: uint8 (h, w, 3), RGB.
        settings: kernels and iterations.
        threads: threads that share the work; where many photos are refined at once, 1.

    Raises:
        DataError: no such image, or kernels far too narrow for it.
    """

    def __init__(
        self,
        image: npt.NDArray[np.uint8],
        settings: CrfSettings = DEFAULT_SETTINGS,
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
        # What all classes together get of the messages at every pixel, float32 (n,).
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
        """Infer the marginals of k classes, the background among them where there is one.

        Args:
            scores: float32 (k, h, w) of the photo's size, k at least 1; clipped to
                ``LOWEST_SCORE``..1.

        Returns:
            float32 (k, h, w), sums of 1 over k.

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
                fix="Make the maps anew.",
            )
        if len(scores) == 1:
            return np.ones_like(scores)
        marginals = np.empty(scores.shape, np.float32)
        with Team(self.threads) as team:
            field = _MeanField(scores.reshape(len(scores), -1), self._kernels, team)
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
    """A kernel's features of every pixel: x and y, then r, g and b; float32 (2 or 5, n)."""
    height, width = image.shape[:2]
    features = np.empty((2 if srgb is None else 5, height, width), np.float32)
    features[0] = np.arange(width, dtype=np.float32) / np.float32(sxy)
    features[1] = (np.arange(height, dtype=np.float32) / np.float32(sxy))[:, None]
    if srgb is not None:
        np.divide(np.moveaxis(image, 2, 0), np.float32(srgb), out=features[2:])
    return features.reshape(len(features), -1)


def _form(array: object) -> str:
    """Type and shape of something that should be an array of others."""
    if isinstance(array, np.ndarray):
        return f"{array.dtype} of shape {array.shape}"
    return f"a {type(array).__name__}"


class _MeanField:
    """The marginals of all pixels while they are refined.

    They are held as the filters read them: groups of ``GROUP`` classes side by side, float32
    (n, GROUP) each, then a single one (n, 1) where that is left. The last class is left out.
    """

    def __init__(
        self, scores: Float32, kernels: Sequence[tuple[float, PermutohedralLattice]], team: Team
    ) -> None:
        self._team, self._kernels = team, kernels
        classes, self._pixels = scores.shape
        # A group with empty places costs less than two single ones.
        single = int((classes - 1) % GROUP == 1)
        self._singles = np.empty((single, self._pixels, 1), np.float32)
        self._groups = np.zeros(
            (-(-(classes - 1 - single) // GROUP), self._pixels, GROUP), np.float32
        )
        self._unary = np.empty(scores.shape, np.float32)
        team.run(
            partial(self._set_unary, scores, slice(*part)) for part in team.parts(self._pixels)
        )
        # Lattice values by kernel and channels, of which the first is then blurred with the second.
        self._values = [
            [
                (lattice.lattice_values(q.shape[1]), lattice.lattice_values(q.shape[1]))
                for q in self._channels()
            ]
            for _, lattice in kernels
        ]
        self._blurred: list[list[Float32]] = [[] for _ in kernels]

    def _channels(self) -> list[Float32]:
        return [*self._groups, *self._singles]

    def _set_unary(self, scores: Float32, part: slice) -> None:
        np.clip(scores[:, part], LOWEST_SCORE, 1, out=self._unary[:, part])
        np.log(self._unary[:, part], out=self._unary[:, part])
        np.negative(self._unary[:, part], out=self._unary[:, part])

    def filter(self) -> None:
        """Filter the marginals with both kernels, up to the lattice points."""
        self._team.run(
            partial(self._splat, kernel, lattice, *part)
            for kernel, (_, lattice) in enumerate(self._kernels)
            for part in lattice.point_parts(self._team)
        )
        blurred = iter(
            self._team.run(
                partial(lattice.blur, *pair)
                for (_, lattice), pairs in zip(self._kernels, self._values, strict=True)
                for pair in pairs
            )
        )
        self._blurred = [[next(blurred) for _ in pairs] for pairs in self._values]

    def _splat(self, kernel: int, lattice: PermutohedralLattice, first: int, last: int) -> None:
        for marginals, (values, _) in zip(self._channels(), self._values[kernel], strict=True):
            lattice.splat(marginals, values, first, last)

    def update(self, total: Float32, out: Float32 | None) -> None:
        """Set the marginals from the unary and the messages of both kernels.

        Args:
            total: the messages' sum over the classes, float32 (n,).
            out: where to write the marginals, float32 (k, n); None: ready for the next `filter`.
        """
        target = np.empty((0, 0), np.float32) if out is None else out
        self._team.run(
            partial(self._update_part, total, target, *part)
            for part in self._team.parts(self._pixels)
        )

    def _update_part(self, total: Float32, out: Float32, first: int, last: int) -> None:
        channels = sum(marginals.shape[1] for marginals in self._channels())
        messages = np.empty((channels, min(STRIP, last - first)), np.float32)
        for begin in range(first, last, STRIP):
            end = min(begin + STRIP, last)
            messages[:] = 0
            for (weight, lattice), blurred in zip(self._kernels, self._blurred, strict=True):
                row = 0
                for values in blurred:
                    rows = messages[row : row + values.shape[1]]
                    lattice.slice(values, weight, rows, begin, end)
                    row += len(rows)
            _update_marginals(
                self._unary, messages, total, self._groups, self._singles, out, begin, end
            )


@compiled
def _update_marginals(
    unary: Float32,
    messages: Float32,
    total: Float32,
    groups: Float32,
    singles: Float32,
    out: Float32,
    first: int,
    last: int,
) -> None:
    """Set some pixels' marginals to the softmax of message - unary.

    Args:
        unary: (k, n).
        messages: (k - 1 or more, last - first or more), begins with pixel ``first``.
        total: (n,), sum of the messages over all k classes.
        groups: set where ``out`` is empty, classes 0.. but the last, (groups, n, GROUP).
        singles: set where ``out`` is empty, the classes after those, (singles, n, 1).
        out: set if not empty, (k, n).
        first: first pixel, a multiple of BLOCK.
        last: end of the pixels.
    """
    classes = len(unary)
    logits = np.empty((classes, BLOCK), np.float32)
    rest, peak = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    mass, exponents = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32)
    powers = exponents.view(np.float32)
    # Loops over views that begin at 0 become vector instructions; others don't.
    for begin in range(first, last, BLOCK):
        end = min(begin + BLOCK, last)
        width = end - begin
        whole_message = total[begin:end]
        for i in range(width):
            rest[i], peak[i], mass[i] = whole_message[i], -np.inf, 0
        for c in range(classes):
            message, energy, row = rest, unary[c, begin:end], logits[c]
            if c < classes - 1:
                message = messages[c, begin - first : end - first]
                for i in range(width):
                    rest[i] -= message[i]
            for i in range(width):
                row[i] = message[i] - energy[i]
                peak[i] = max(peak[i], row[i])
        for c in range(classes):
            row = logits[c]
            # exp(x) = 2^whole 2^part, |part| <= 1/2, to about 1e-7; math.exp is no vector.
            for i in range(width):
                power = max((row[i] - peak[i]) * LOG2_E, np.float32(-126))
                whole = np.int32(power - np.float32(0.5))
                part = power - np.float32(whole)
                exponents[i] = (whole + np.int32(127)) << np.int32(23)
                row[i] = TAYLOR[0] + part * (
                    TAYLOR[1]
                    + part
                    * (
                        TAYLOR[2]
                        + part
                        * (TAYLOR[3] + part * (TAYLOR[4] + part * (TAYLOR[5] + part * TAYLOR[6])))
                    )
                )
            for i in range(width):
                row[i] *= powers[i]
                mass[i] += row[i]
        for i in range(width):
            mass[i] = np.float32(1) / mass[i]
        for c in range(classes):
            row, group, member = logits[c], c // GROUP, c % GROUP
            if len(out) > 0:
                target = out[c, begin:end]
            elif c == classes - 1:
                continue
            elif group < len(groups):
                target = groups[group, begin:end, member]
            else:
                target = singles[c - GROUP * len(groups), begin:end, 0]
            for i in range(width):
                target[i] = row[i] * mass[i]
