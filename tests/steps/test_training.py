"""What the three trainings share: their settings reach the loop and the optimizer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from small_runs import recipe
from tag2mask.segmentation.dataset import SegmenterBatch
from tag2mask.steps.segmenter_task import SegmenterTask
from tag2mask.steps.training import fit_settings, network_optimizer

pytestmark = pytest.mark.smoke


def test_the_optimizer_has_the_rates_of_the_section() -> None:
    section = recipe(
        train_cam__optimizer__name="sgd",
        train_cam__optimizer__lr=0.01,
        train_cam__optimizer__new_layer_lr=10.0,
        train_cam__optimizer__bias_lr=2.0,
        train_cam__optimizer__weight_decay=0.5,
        train_cam__optimizer__momentum=0.8,
    ).train_cam
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer = network_optimizer(net, net[1].parameters(), section)
    assert isinstance(optimizer, torch.optim.SGD) and optimizer.defaults["momentum"] == 0.8
    found = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert [found[id(parameter)] for parameter in net.parameters()] == [
        (0.01, 0.5),
        (0.02, 0.0),
        (pytest.approx(0.1), 0.5),
        (pytest.approx(0.2), 0.0),
    ]


def test_the_loop_has_the_settings_of_the_section() -> None:
    section = recipe(
        train_cam__epochs=6,
        train_cam__batch_size=4,
        train_cam__max_steps=None,
        train_cam__checkpoint_minutes=0.5,
        train_cam__optimizer__accumulate=3,
        train_cam__optimizer__ema=0.9,
        train_cam__optimizer__clip_norm=2.0,
        train_cam__optimizer__warmup_steps=5,
        train_cam__seed=11,
    ).train_cam
    found = fit_settings(section, photos=10)
    assert (found.steps, found.batch_size, found.accumulate) == (6 * 2 // 3, 4, 3)
    assert (found.ema, found.clip_norm, found.warmup_steps) == (0.9, 2.0, 5)
    assert (found.checkpoint_seconds, found.seed) == (30.0, 11)
    assert (found.schedule, found.poly_power) == (
        section.optimizer.schedule,
        section.optimizer.poly_power,
    )
    assert fit_settings(section, photos=3).batch_size == 3


def test_the_segmentation_network_gets_the_batch_as_it_is() -> None:
    batch = SegmenterBatch(
        torch.rand(2, 3, 8, 8), torch.randint(0, 3, (2, 8, 8)).byte(), ("a", "b")
    )
    task = SegmenterTask.__new__(SegmenterTask)
    image, labels = task.inputs(batch, 0, torch.device("cpu"))
    assert torch.equal(image, batch.image)
    assert torch.equal(labels, batch.labels.long()) and labels.dtype == torch.int64
