"""Estimates that follow from the recipe alone agree with what is run."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tag2mask.data.training import steps_per_epoch
from tag2mask.estimates import estimate, training_steps
from tag2mask.nn.fit import epochs_to_steps
from tag2mask.recipe import load_recipe
from tag2mask.training_sections import CamOptimiser, TrainCam

counts = st.integers(1, 40)


@settings(max_examples=25, deadline=None)
@given(counts, counts, counts, counts, st.none() | counts)
def test_estimated_steps_are_those_of_the_training(
    photos: int, batch: int, epochs: int, accumulate: int, most: int | None
) -> None:
    section = TrainCam(batch_size=batch, epochs=epochs, max_steps=most,
                       optimiser=CamOptimiser(accumulate=accumulate))
    steps = epochs_to_steps(epochs, steps_per_epoch(photos, batch), accumulate, most)
    assert training_steps(section, photos) == steps


def test_a_warm_start_costs_a_plain_training() -> None:
    plain, seam, warm = (
        estimate(load_recipe(name, changes), train=800, val=300, gpu=False)["train-cam"]
        for name, changes in (("cam-baseline", ["train_cam.epochs=5"]),
                              ("lite0-cpu", ["train_cam.warm_start=0"]),
                              ("lite0-cpu", ["train_cam.warm_start=5"]))
    )  # fmt: skip
    assert warm.seconds == plain.seconds + seam.seconds
    assert warm.memory_mib == seam.memory_mib and warm.disk_mib > seam.disk_mib


def test_a_head_of_many_branches_costs_time() -> None:
    cam, mdc, wider = (
        estimate(load_recipe(name, changes), train=800, val=300, gpu=False)
        for name, changes in (("cam-baseline", []), ("mdc-baseline", []),
                              ("mdc-baseline", ["train_cam.mdc_channels=512"]))
    )  # fmt: skip
    for step in ("train-cam", "infer-cam"):
        assert cam[step].seconds < mdc[step].seconds < wider[step].seconds
        assert mdc[step].seconds < 2 * cam[step].seconds
    assert cam["walk"] == mdc["walk"] == wider["walk"]
