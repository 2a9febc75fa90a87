"""Parameter groups, schedules and freezing."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tag2mask.training.optim import (
    build_optimizer,
    freeze,
    parameter_groups,
    schedule,
    set_lr,
    train_mode,
)

pytestmark = pytest.mark.smoke


def make_net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def test_groups_as_published() -> None:
    net = make_net()
    groups = parameter_groups(
        net, [(net[2].parameters(), 10.0)], lr=0.01, bias_lr=2, weight_decay=5e-4
    )
    by_parameter = {id(p): group for group in groups for p in group["params"]}
    assert len(by_parameter) == sum(len(g["params"]) for g in groups) == 6
    for parameter, lr, decay in (
        (net[0].weight, 0.01, 5e-4),
        (net[0].bias, 0.02, 0.0),
        (net[1].weight, 0.02, 0.0),
        (net[2].weight, 0.1, 5e-4),
        (net[2].bias, 0.2, 0.0),
    ):
        group = by_parameter[id(parameter)]
        assert group["lr"] == group["base_lr"] == pytest.approx(lr)
        assert group["weight_decay"] == decay


def test_frozen_parameters_are_in_no_group() -> None:
    net = make_net()
    freeze(net, net[0].parameters(), batch_norm=True)
    groups = parameter_groups(net, [], lr=1.0, bias_lr=1, weight_decay=0)
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in net[2].parameters()}


def test_learning_rates_of_new_layers() -> None:
    net = make_net()
    groups = parameter_groups(
        net,
        [(net[2].parameters(), 10.0), (net[1].parameters(), 3.0), ([], 7.0)],
        lr=0.1,
        bias_lr=1.0,
        weight_decay=0.0,
    )
    rates = {id(p): group["base_lr"] for group in groups for p in group["params"]}
    assert groups[0]["base_lr"] == rates[id(net[0].weight)] == pytest.approx(0.1)
    assert rates[id(net[1].weight)] == pytest.approx(0.3)
    assert rates[id(net[2].bias)] == rates[id(net[2].weight)] == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_optimizer_scales_every_group(name: str) -> None:
    net = make_net()
    groups = parameter_groups(
        net, [(net[2].parameters(), 10.0)], lr=0.1, bias_lr=2, weight_decay=0.01
    )
    optimizer = build_optimizer(groups, name=name, momentum=0.7)  # type: ignore[arg-type]
    base = [group["lr"] for group in optimizer.param_groups]
    set_lr(optimizer, 0.5)
    set_lr(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(b / 4) for b in base]
    if name == "sgd":
        assert all(group["momentum"] == 0.7 for group in optimizer.param_groups)


@given(step=st.integers(0, 99), power=st.floats(0.5, 2.0))
def test_polynomial_decay(step: int, power: float) -> None:
    assert schedule(step, 100, kind="poly", power=power) == pytest.approx((1 - step / 100) ** power)


@given(
    steps=st.integers(1, 200),
    warmup=st.integers(0, 50),
    kind=st.sampled_from(["poly", "cosine", "constant"]),
)
def test_schedules_never_rise_after_the_warmup(steps: int, warmup: int, kind: str) -> None:
    factors = [schedule(s, steps, kind=kind, warmup=warmup) for s in range(steps)]  # type: ignore[arg-type]
    assert all(0 < factor <= 1 for factor in factors)
    after = factors[warmup:]
    assert all(later <= earlier for earlier, later in pairwise(after))
    if warmup:
        assert factors[0] == pytest.approx(1 / (warmup + 1))
    else:
        assert factors[0] == 1


def test_cosine_is_half_in_the_middle() -> None:
    assert schedule(50, 100, kind="cosine") == pytest.approx(0.5)


def test_frozen_batch_norms_keep_their_statistics() -> None:
    net = make_net()
    train_mode(net, freeze_batch_norm=True)
    before = net[1].running_mean.clone()
    net(torch.randn(2, 3, 8, 8))
    assert torch.equal(net[1].running_mean, before)
    assert net[0].training
    train_mode(net, freeze_batch_norm=False)
    net(torch.randn(2, 3, 8, 8))
    assert not torch.equal(net[1].running_mean, before)
