"""Faults by package, in the order of the method."""

from __future__ import annotations

from campaigns.faults import (
    affinity,
    crf,
    data,
    evaluation,
    maps,
    metrics,
    nn,
    runtime,
    seam,
    segmentation,
    steps,
    training,
)

FAULTS = [
    *seam.FAULTS,
    *affinity.FAULTS,
    *segmentation.FAULTS,
    *maps.FAULTS,
    *crf.FAULTS,
    *metrics.FAULTS,
    *evaluation.FAULTS,
    *training.FAULTS,
    *nn.FAULTS,
    *data.FAULTS,
    *steps.FAULTS,
    *runtime.FAULTS,
]
