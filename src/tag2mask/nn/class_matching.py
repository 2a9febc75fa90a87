"""Start a network from a trained one: its last layers by class name, all others as they are.

The trained network may know other classes, or the same ones in another order. A class that only the
new network knows keeps its random weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tag2mask.errors import WeightsError, first_few
from tag2mask.nn.weights import load_into


class ClassMatch(NamedTuple):
    """Which classes a network has from a trained one.

    Attributes:
        kept: names of classes that both know.
        new: those that the trained network doesn't know.
        dropped: those that only the trained network knows.
    """

    kept: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]

    def warnings(self, setting: str) -> tuple[str, ...]:
        """Return what changes, one line each; none with the same classes.

        Args:
            setting: the recipe's key that names the trained network.
        """
        found = (
            ("classes that it doesn't know start fresh", self.new),
            ("classes that the data doesn't have are dropped", self.dropped),
        )
        return tuple(f"{setting}: {what}: {first_few(names, 20)}" for what, names in found if names)


def match_classes(classes: Sequence[str], trained: Sequence[str]) -> ClassMatch:
    """Compare the classes of a new network with those of a trained one."""
    return ClassMatch(
        tuple(name for name in classes if name in trained),
        tuple(name for name in classes if name not in trained),
        tuple(name for name in trained if name not in classes),
    )


class Trained(NamedTuple):
    """A trained network to start from.

    Attributes:
        state: its tensors by name.
        classes: names of its foreground classes.
        where: its file.
    """

    state: Mapping[str, Tensor]
    classes: Sequence[str]
    where: str


def load_trained(
    net: nn.Module,
    layers: Iterable[nn.Module],
    classes: Sequence[str],
    trained: Trained,
    *,
    allow_missing: Iterable[str] = (),
    allow_unexpected: Iterable[str] = (),
) -> None:
    """Copy a trained network's weights into a network.

    Args:
        net: the network.
        layers: its last layers, whose outputs are background and classes.
        classes: names of its foreground classes.
        trained: the trained network.
        allow_missing: see `tag2mask.nn.weights.load_into`.
        allow_unexpected: see `tag2mask.nn.weights.load_into`.

    Raises:
        WeightsError: tensors missing, unexpected or of another shape. The network is then
            unchanged.
    """
    outputs = {id(tensor) for layer in layers for tensor in layer.parameters()}
    state = dict(trained.state)
    for name, tensor in net.named_parameters():
        if id(tensor) in outputs and name in state:
            state[name] = _by_class(tensor.detach(), classes, state[name], trained.classes)
    load_into(
        net,
        state,
        where=trained.where,
        allow_missing=allow_missing,
        allow_unexpected=allow_unexpected,
    )


def _by_class(
    own: Tensor, classes: Sequence[str], trained: Tensor, trained_classes: Sequence[str]
) -> Tensor:
    """Return the rows (C+1, ...) of background and the known classes, else those of ``own``."""
    if trained.shape != (1 + len(trained_classes), *own.shape[1:]):
        return trained  # of another network
    kept = match_classes(classes, trained_classes).kept
    rows = torch.tensor([0, *(1 + list(classes).index(name) for name in kept)])
    sources = torch.tensor([0, *(1 + list(trained_classes).index(name) for name in kept)])
    return own.cpu().index_copy(0, rows, trained[sources].to(own.dtype))


def architecture_error(
    error: WeightsError, own: Any, trained: Any, *, setting: str, fields: Iterable[str]
) -> WeightsError:
    """Return the error for weights that don't fit, which names what differs in the specifications.

    Args:
        error: the error of the weights.
        own: specification of the network, a dataclass.
        trained: that of the trained network.
        setting: the recipe's key that names the file.
        fields: fields of the specifications that decide the tensors' shapes.
    """
    ours, theirs = dataclasses.asdict(own), dataclasses.asdict(trained)
    different = [
        f"{field} {theirs[field]!r} instead of {ours[field]!r}"
        for field in fields
        if ours[field] != theirs[field]
    ]
    if not different:
        return error
    return WeightsError(
        f"{setting} is a network of another architecture: {', '.join(different)}",
        where=error.where,
        fix=f"Give the recipe the architecture of that network, or set {setting}=null.",
    )
