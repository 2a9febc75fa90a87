"""What the three trainings share: their settings reach the loop and the optimizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from small_runs import recipe
from tag2mask.classes import ClassSet
from tag2mask.data.index import Sample
from tag2mask.seam.model import build_seam
from tag2mask.seam.objective import SeamObjective
from tag2mask.segmentation.dataset import SegmenterBatch
from tag2mask.steps.train_affinity import _AffinityTask
from tag2mask.steps.train_cam import net_spec
from tag2mask.steps.trainers.cam_task import (
    CamTask,
    ViewDraw,
    cam_optimizer,
    objective_settings,
)
from tag2mask.steps.trainers.segmenter_task import SegmenterTask, segmenter_spec
from tag2mask.steps.trainers.training import fit_settings, network_optimizer
from tag2mask.training.dataset import TaggedBatch

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


def test_layers_of_an_extra_loss_learn_as_new_layers_do() -> None:
    section = recipe(
        train_cam__optimizer__lr=0.01, train_cam__optimizer__new_layer_lr=10.0
    ).train_cam
    net = build_seam(net_spec(section, ClassSet(("cat", "dog"))))
    layer = nn.Conv2d(3, 4, 1, bias=False)
    plain = cam_optimizer(SeamObjective(net, objective_settings(section)), section)
    extra = [(layer, 1.0)]
    groups = cam_optimizer(
        SeamObjective(net, objective_settings(section), extra), section
    ).param_groups
    (group,) = (g for g in groups if any(p is layer.weight for p in g["params"]))
    assert group["lr"] == pytest.approx(0.1)
    others = [[id(p) for p in g["params"] if p is not layer.weight] for g in groups]
    assert others == [[id(p) for p in g["params"]] for g in plain.param_groups]


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


@pytest.mark.parametrize("absent", [0.0, 0.1])
def test_the_segmentation_network_gets_the_batch_as_it_is(absent: float) -> None:
    batch = SegmenterBatch(
        torch.rand(2, 3, 8, 8),
        torch.randint(0, 3, (2, 8, 8)).byte(),
        torch.eye(2),
        torch.rand(2, 8, 8) > 0.5,
        ("a", "b"),
    )
    task = SegmenterTask.__new__(SegmenterTask)
    task.mix, task.section = None, recipe(train_segmenter__absent_weight=absent).train_segmenter
    image, labels, weights, *rest = task.inputs(batch, 0, torch.device("cpu"))
    assert torch.equal(image, batch.image) and weights is None
    assert torch.equal(labels, batch.labels.long()) and labels.dtype == torch.int64
    assert [
        torch.equal(*pair) for pair in zip(rest, (batch.tags, batch.tags_apply), strict=False)
    ] == ([True, True] if absent else [])
    assert task.weights(0) == {"cross_entropy": 1.0} | ({"absent": 0.1} if absent else {})


@pytest.mark.parametrize("two_views", [False, True])
def test_seam_gets_the_batch_and_a_second_view_if_it_has_two(two_views: bool) -> None:
    batch = TaggedBatch(torch.rand(2, 3, 8, 8), torch.eye(2), torch.rand(2, 8, 8) > 0.5, ("a", "b"))
    task = CamTask.__new__(CamTask)
    section = recipe(train_cam__epochs=5).train_cam
    task.draw, task.two_views = ViewDraw(section.views, 0), two_views
    task.settings = fit_settings(section, photos=8)
    image, tags, valid, transform, progress = task.inputs(batch, 3, torch.device("cpu"))
    for given, wanted in ((image, batch.image), (tags, batch.tags), (valid, batch.valid)):
        assert torch.equal(given, wanted)
    assert transform == (task.draw.at(3) if two_views else None)
    assert progress == 0.3


@pytest.mark.parametrize("published", [False, True])
def test_seams_objective_has_the_settings_of_the_section(published: bool) -> None:
    section = recipe(
        train_cam__behavior="published" if published else "default",
        train_cam__pcm__gate_by_tags=not published,
        train_cam__losses__cls=2.0,
        train_cam__losses__er=3.0,
        train_cam__losses__ecr=4.0,
        train_cam__losses__min_pool=5.0,
        train_cam__losses__cls_view2=0.5,
        train_cam__losses__ecr_top=0.3,
    ).train_cam
    found = objective_settings(section)
    weights = found.weights
    assert (weights.cls, weights.er, weights.ecr, weights.min_pool) == (2.0, 3.0, 4.0, 5.0)
    assert (weights.cls_view2, found.ecr_top) == (0.5, 0.3)
    assert (found.published, found.gate_pcm) == (published, not published)


def test_different_pairs_weigh_half() -> None:
    task = _AffinityTask.__new__(_AffinityTask)
    assert task.weights(0) == {"bg": 0.25, "fg": 0.25, "neg": 0.5}


def test_the_segmentation_network_is_for_photos_of_the_median_size() -> None:
    section = recipe(train_segmenter__long_side=None).train_segmenter
    samples = [
        Sample(str(size), Path(f"{size}.jpg"), (size, 5), (0,), "1") for size in (10, 20, 90)
    ]
    assert segmenter_spec(section, ClassSet(("cat",)), samples).long_side == 20
    assert segmenter_spec(section, ClassSet(("cat",))).long_side == 1
