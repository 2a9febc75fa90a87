"""Estimated steps of a training are exact, and heads on frozen features have costs of their own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.pipeline import cost_model
from tag2mask.pipeline.cost_model import Cost
from tag2mask.pipeline.estimates import estimate
from tag2mask.pipeline.training_costs import training_steps
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.training import Optimizer, TrainCam
from tag2mask.steps.trainers.training import fit_settings

counts = st.integers(1, 40)


@settings(max_examples=25, deadline=None)
@given(counts, counts, counts, counts, st.none() | counts)
def test_estimated_steps_are_those_of_the_training(
    photos: int, batch: int, epochs: int, accumulate: int, most: int | None
) -> None:
    section = TrainCam(
        batch_size=batch,
        epochs=epochs,
        max_steps=most,
        optimizer=Optimizer(accumulate=accumulate),
    )
    assert training_steps(section, photos) == fit_settings(section, photos).steps


def test_heads_on_frozen_features_cost_a_pass_over_the_photos_and_their_maps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cost_model, "processors", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def cost(*changes: str, train: int = 300, classes: int = 3) -> Cost:
        recipe = load_recipe("small-objects-cpu", changes)
        sizes = [(1000, 1000)]
        found = estimate(recipe, train=train, val=1, gpu=False, sizes=sizes, classes=classes)
        return found["train-cam"]

    usual = cost()
    assert 40 < usual.seconds < 60
    assert usual.disk_mib == pytest.approx(300 * 40 * 125**2 * 2 / 2**20, rel=0.15)
    assert cost("train_cam.starts=64").seconds > 1.8 * usual.seconds
    assert cost("train_cam.epochs=30").seconds > 1.25 * usual.seconds
    assert cost(train=600).disk_mib > 1.9 * usual.disk_mib
    assert cost(classes=6).seconds > 1.25 * usual.seconds
    half = cost("train_cam.long_side=[500, 500]")
    assert half.seconds < 0.6 * usual.seconds and half.disk_mib < 0.4 * usual.disk_mib
