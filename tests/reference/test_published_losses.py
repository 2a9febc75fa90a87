"""Every loss term equals the authors' (1e-5), and the gradient norms do (1e-3 relative)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reference.inputs import reference_values
from tag2mask.nn.mean import Mean
from tag2mask.nn.official_checkpoints import official_seam_state
from tag2mask.seam.network import SeamNet
from tag2mask.seam.objective import PUBLISHED_OBJECTIVE, SeamObjective
from tag2mask.seam.transform import ViewTransform
from tag2mask.training.optim import freeze

PUBLISHED_VIEWS = ViewTransform(scale=0.3)
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def expected(reference: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((reference / "seam_losses.json").read_text())
    return values


@pytest.fixture(scope="module")
def siamese(network: SeamNet) -> Iterator[SeamObjective]:
    """The published objective: padding included, every class in PCM, frozen layers."""
    trainable = {name: p.requires_grad for name, p in network.named_parameters()}
    freeze(network, network.backbone.frozen(), batch_norm=True)
    yield SeamObjective(network, PUBLISHED_OBJECTIVE)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(trainable[name])
        parameter.grad = None


@pytest.fixture(scope="module")
def terms(siamese: SeamObjective, reference: Path) -> dict[str, Mean]:
    values = reference_values(reference, "seam_forward.npz")
    image, label = torch.from_numpy(values["image"]), torch.from_numpy(values["label"])
    valid = torch.ones(image.shape[0], *image.shape[2:], dtype=torch.bool)
    computed: dict[str, Mean] = siamese(image, label, valid, PUBLISHED_VIEWS)
    return computed


@pytest.fixture(scope="module")
def total(siamese: SeamObjective, terms: dict[str, Mean]) -> Tensor:
    """The weighted sum of the terms, after the backward pass."""
    weights = siamese.total_weights(two_views=True)
    loss = sum((terms[name].value * weights[name] for name in terms), torch.zeros(()))
    loss.backward()
    return loss.detach()


def test_every_term(terms: dict[str, Mean], expected: dict[str, Any]) -> None:
    wanted = {k.removeprefix("loss_"): v for k, v in expected.items() if k.startswith("loss_")}
    assert set(terms) == set(wanted)
    for name, value in wanted.items():
        assert terms[name].value.item() == pytest.approx(value, abs=TOLERANCE), name


def test_total(total: Tensor, expected: dict[str, Any]) -> None:
    assert total.item() == pytest.approx(expected["loss"], abs=TOLERANCE)


def test_gradient_norms(siamese: SeamObjective, total: Tensor, expected: dict[str, Any]) -> None:
    parameters = dict(siamese.net.named_parameters())
    for official, norm in expected["grad_norm"].items():
        (name,) = official_seam_state({official: torch.zeros(())})
        gradient = parameters[name].grad
        assert gradient is not None, name
        assert gradient.norm().item() == pytest.approx(norm, rel=1e-3), name


def test_as_many_tensors_train(
    siamese: SeamObjective, total: Tensor, expected: dict[str, Any]
) -> None:
    trainable = [p for p in siamese.net.parameters() if p.requires_grad]
    assert len(trainable) == expected["n_trainable"]
    assert sum(p.grad is not None for p in trainable) == expected["n_params_with_grad"]
    assert all(p.grad is None for p in siamese.net.parameters() if not p.requires_grad)
