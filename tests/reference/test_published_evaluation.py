"""The authors' evaluation: IoU of label maps and the threshold curve of CAMs (1e-3)."""

import json

import numpy as np
import pytest

from reference.inputs import reference_values
from tag2mask.metrics.confusion import Confusion
from tag2mask.metrics.threshold_curve import ThresholdCurve


@pytest.fixture(scope="module")
def values(reference):
    return reference_values(reference, "evaluation.npz")


@pytest.fixture(scope="module")
def expected(reference):
    return json.loads((reference / "evaluation.json").read_text())


def _classes(expected):
    return len(expected["label_map_iou_percent"]) - 2  # without background and mIoU


def test_iou_of_label_maps(values, expected):
    confusion = Confusion.empty(_classes(expected))
    for truth, prediction in zip(values["ground_truth"], values["prediction"], strict=True):
        confusion.add(truth, prediction)
    *per_class, miou = expected["label_map_iou_percent"].values()
    np.testing.assert_allclose(100 * confusion.iou(published=True), per_class, atol=1e-3)
    assert 100 * confusion.miou(published=True) == pytest.approx(miou, abs=1e-3)


def test_threshold_curve(values, expected):
    wanted = expected["cam_threshold_curve_miou_percent"]
    thresholds = [i / 100 for i in range(len(wanted))]
    curve = ThresholdCurve.empty(_classes(expected), thresholds)
    for truth, scores, classes in zip(
        values["ground_truth"], values["cam"], values["classes"], strict=True
    ):
        curve.add(truth, [int(c) - 1 for c in classes], scores)
    np.testing.assert_allclose(100 * curve.miou(published=True), wanted, atol=1e-3)
