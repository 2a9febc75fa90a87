"""Means of the loss terms between two rows of the log."""

from __future__ import annotations

import pytest

from tag2mask.training import meter as meter_module
from tag2mask.training.meter import TrainingMeter

pytestmark = pytest.mark.smoke


def test_rows_have_the_means_since_the_last_row(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 12.0, 20.0])
    monkeypatch.setattr(meter_module.time, "monotonic", lambda: next(clock))
    meter = TrainingMeter(photos=4)
    for loss in (1.0, 2.0, 6.0):
        meter.add({"loss": loss, "er": loss / 2})
    assert meter.take() == {"loss": 3.0, "er": 1.5, "photos_per_second": 4 * 3 / 10}
    meter.add({"loss": 7.0})
    assert meter.take() == {"loss": 7.0, "photos_per_second": 4 / 2}
    assert meter.summary == {"seconds": 20.0, "loss": 7.0, "photos_per_second": 2.0}
