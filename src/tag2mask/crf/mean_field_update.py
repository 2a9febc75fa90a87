"""Mean-field inference of the dense CRF: marginals, messages and their update.

Algorithm 1 of Krähenbühl & Koltun (NIPS 2011, https://arxiv.org/abs/1210.5644) for a Potts model:

    Q_i(l) <- softmax over l of ( -unary_i(l) + sum over kernels m of w_m sum over j of
                                  k_m(i, j) Q_j(l) )

The marginals of a pixel sum to 1 and the filters are linear. So the message of the last class is
the total of all messages minus those of the other classes, and is never filtered. This halves the
work for one class against the background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from tag2mask.crf.lattice_build import Float32
from tag2mask.crf.permutohedral import GROUP, PermutohedralLattice
from tag2mask.runtime.compiled import BLOCK, Team, compiled

LOWEST_SCORE = 1e-5
"""Scores are clipped to LOWEST_SCORE..1, so that their logarithm is finite."""
STRIP = 64 * BLOCK
"""Pixels whose messages a thread computes at once; they fit the processor's cache."""
LOG2_E = np.float32(math.log2(math.e))
TAYLOR = tuple(np.float32(math.log(2) ** i / math.factorial(i)) for i in range(7))
"""Taylor coefficients of 2^x around 0."""


class MeanField:
    """The marginals of all pixels during the iterations.

    The filters read them in groups of ``GROUP`` classes side by side, float32 (n, GROUP) each, and
    a last class that is left over as (n, 1). The message of the last of the k classes follows from
    the others, so this class is not stored.

    Args:
        scores: float32 (k, n), k at least 2.
        kernels: weight and lattice of each kernel.
        team: threads that share the work.
    """

    def __init__(
        self, scores: Float32, kernels: Sequence[tuple[float, PermutohedralLattice]], team: Team
    ) -> None:
        self._team, self._kernels = team, kernels
        classes, self._pixels = scores.shape
        # A partly empty group takes less time than two single classes.
        single = int((classes - 1) % GROUP == 1)
        self._singles = np.empty((single, self._pixels, 1), np.float32)
        self._groups = np.zeros(
            (-(-(classes - 1 - single) // GROUP), self._pixels, GROUP), np.float32
        )
        self._unary = np.empty(scores.shape, np.float32)
        team.run(
            partial(self._set_unary, scores, slice(*part)) for part in team.parts(self._pixels)
        )
        # By kernel and channels: values of the lattice points, and a buffer for the blur.
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
        """Filter the marginals with both kernels: splat and blur; `update` reads the result."""
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
        """Compute the marginals from the unary energies and the messages of both kernels.

        Args:
            total: sum of the messages over all classes, float32 (n,).
            out: array for the marginals, float32 (k, n); None: they are stored for the next
                `filter`.
        """
        target = np.empty((0, 0), np.float32) if out is None else out
        self._team.run(
            partial(self._update_part, total, target, *part)
            for part in self._team.parts(self._pixels)
        )

    def _update_part(self, total: Float32, out: Float32, first: int, last: int) -> None:
        channels = sum(marginals.shape[1] for marginals in self._channels())
        messages = np.empty((channels, min(STRIP, last - first)), np.float32)  # (k - 1 or more, s)
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
    """Compute the marginals of some pixels: softmax over the classes of message - unary.

    Args:
        unary: (k, n), energies.
        messages: (k - 1 or more, last - first or more); column 0 is pixel ``first``.
        total: (n,), sum of the messages over all k classes.
        groups: (groups, n, GROUP), written if ``out`` is empty: classes from 0 on.
        singles: (singles, n, 1), written if ``out`` is empty: the class after those.
        out: (k, n), written unless it is empty.
        first: first pixel, a multiple of BLOCK.
        last: end of the pixels (exclusive).
    """
    classes = len(unary)
    logits = np.empty((classes, BLOCK), np.float32)
    rest, peak = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    mass, exponents = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32)
    powers = exponents.view(np.float32)
    # The compiler vectorizes loops over views that begin at 0, and no others.
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
            # exp(x) = 2^whole 2^part, |part| <= 1/2, to about 1e-7; math.exp isn't vectorized.
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
