"""Tests of `tag2mask.nn.class_matching`."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import nn

from tag2mask.errors import WeightsError
from tag2mask.nn.class_matching import Trained, load_trained, match_classes


class Net(NamedTuple):
    """A body and a last layer of C+1 outputs."""

    module: nn.Sequential
    head: nn.Conv2d

    def state(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.module.state_dict().items()}


def network(classes: int, *, channels: int = 4) -> Net:
    head = nn.Conv2d(channels, 1 + classes, 1)
    return Net(nn.Sequential(nn.Conv2d(3, channels, 1), head), head)


def test_the_last_layer_is_taken_by_class_name() -> None:
    old, new = network(3), network(3)
    fresh = new.state()
    trained = Trained(old.state(), ("a", "b", "c"), "old")
    load_trained(new.module, [new.head], ("c", "x", "a"), trained)
    found = new.state()
    assert torch.equal(found["0.weight"], old.state()["0.weight"])
    for name in ("1.weight", "1.bias"):
        assert torch.equal(found[name][[0, 1, 3]], old.state()[name][[0, 3, 1]])
        assert torch.equal(found[name][2], fresh[name][2]), "x is new"


def test_the_same_classes_give_the_same_network() -> None:
    old, new = network(2), network(2)
    load_trained(new.module, [new.head], ("a", "b"), Trained(old.state(), ("a", "b"), "old"))
    assert all(torch.equal(tensor, old.state()[name]) for name, tensor in new.state().items())


def test_a_layer_of_another_network_is_refused_and_nothing_changes() -> None:
    old, new = network(2, channels=8), network(3)
    before = new.state()
    with pytest.raises(WeightsError, match=r"another shape \(0\.weight"):
        load_trained(
            new.module, [new.head], ("a", "b", "c"), Trained(old.state(), ("a", "b"), "old")
        )
    assert all(torch.equal(tensor, before[name]) for name, tensor in new.state().items())


def test_new_and_dropped_classes_are_named() -> None:
    found = match_classes(("c", "x", "a"), ("a", "b", "c"))
    assert found == (("c", "a"), ("x",), ("b",))
    assert [line.rpartition(": ")[2] for line in found.warnings("key")] == ["x", "b"]
    assert match_classes(("b", "a"), ("a", "b")).warnings("key") == ()
