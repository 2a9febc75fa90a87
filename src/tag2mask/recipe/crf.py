"""Sections of the dense CRF, with the defaults of each step that has one."""

from __future__ import annotations

from typing import Any

from tag2mask.recipe.fields import NonNegative, NonNegativeCount, Positive, Section


class Crf(Section):
    """The dense CRF; the defaults are those published for class activation maps."""

    iterations: NonNegativeCount = 10
    """Iterations of mean field; 0: the scores themselves."""
    gaussian_sxy: Positive = 3.0
    """Standard deviation of the position kernel, px."""
    gaussian_weight: NonNegative = 3.0
    """Weight of this kernel; 0: without it."""
    bilateral_sxy: Positive = 80.0
    """Standard deviation of position in the position and color kernel, px."""
    bilateral_srgb: Positive = 13.0
    """Standard deviation of color in this kernel, in levels of 0..255."""
    bilateral_weight: NonNegative = 10.0
    """Weight of this kernel; 0: without it."""

    def numbers(self) -> dict[str, Any]:
        """Return the values of `tag2mask.crf.dense_crf.CrfSettings`, by name."""
        return self.model_dump(exclude={"enabled"})


class MaskCrf(Crf):
    """The dense CRF of pseudo masks."""

    enabled: bool = False
    iterations: NonNegativeCount = 1
    """Published: 1 after the walk, 10 on activation maps."""


class SegmentationCrf(Crf):
    """The dense CRF of predictions; the defaults are those published for DeepLab."""

    enabled: bool = False
    iterations: NonNegativeCount = 1
    bilateral_sxy: Positive = 32.0


class ComparedCrf(Crf):
    """A dense CRF on the maps of ``infer-cam``, as a comparison with the random walk."""

    enabled: bool = False
    """Takes about 0.2 s per photo of 500 px on one processor core."""
