"""Parameter groups and schedules as in the paper.

New layers and biases learn faster, biases don't decay. The schedule is a pure function of the step:
nothing to store in a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import nn


def parameter_groups(
    net: nn.Module,
    new: Sequence[tuple[Iterable[nn.Parameter], float]],
    *,
    lr: float,
    bias_lr: float,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Group the trainable parameters of a network.

    Args:
        net: the network; parameters with ``requires_grad=False`` are left out.
        new: parameters of new layers, with the factor of their learning rate (paper: 10).
        lr: learning rate of all others, which are pretrained.
        bias_lr: factor for biases (paper: 2).
        weight_decay: for weights; biases and norm parameters (one dimension) have none.

    Returns:
        Two groups for each learning rate, with ``base_lr``, which `set_lr` scales; the pretrained
        weights first.
    """
    factors = {
        id(parameter): (part, factor)
        for part, (parameters, factor) in enumerate(new, start=1)
        for parameter in parameters
    }
    groups: dict[tuple[int, float, bool], list[nn.Parameter]] = {}
    for parameter in net.parameters():
        if parameter.requires_grad:
            part, factor = factors.get(id(parameter), (0, 1.0))
            groups.setdefault((part, factor, parameter.ndim <= 1), []).append(parameter)
    result = []
    for (_, factor, bias), parameters in sorted(groups.items()):
        base = lr * factor * (bias_lr if bias else 1.0)
        result.append(
            {
                "params": parameters,
                "lr": base,
                "base_lr": base,
                "weight_decay": 0.0 if bias else weight_decay,
            }
        )
    return result


def build_optimizer(
    groups: list[dict[str, Any]], *, name: Literal["sgd", "adamw"], momentum: float
) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW (betas .9, .999)."""
    if name == "sgd":
        return torch.optim.SGD(groups, momentum=momentum)
    # One pass over the memory instead of ten; not there for every version's MPS.
    return torch.optim.AdamW(groups, fused=None if torch.backends.mps.is_available() else True)


def schedule(
    step: int,
    steps: int,
    *,
    kind: Literal["poly", "cosine", "constant"],
    power: float = 0.9,
    warmup: int = 0,
) -> float:
    """Factor of the learning rate at a step.

    Args:
        step: 0 .. steps - 1.
        steps: optimizer steps of the whole training.
        kind: polynomial (1 - step/steps)^power, half a cosine, or constant.
        power: exponent of the polynomial decay.
        warmup: first steps, over which the factor grows linearly.
    """
    share = min(step / steps, 1.0)
    factor = 1.0
    if kind == "poly":
        factor = math.pow(1 - share, power)
    elif kind == "cosine":
        factor = 0.5 * (1 + math.cos(math.pi * share))
    return factor * min(1.0, (step + 1) / (warmup + 1))


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's learning rate to its base times ``factor``."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def freeze(net: nn.Module, parameters: Iterable[nn.Parameter], *, batch_norm: bool) -> None:
    """Stop the gradients of the given parameters and, if asked, of every batch norm."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    if batch_norm:
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                for parameter in module.parameters():
                    parameter.requires_grad_(False)


def train_mode(net: nn.Module, *, freeze_batch_norm: bool) -> None:
    """``net.train()``, with batch norms left on their running statistics if asked."""
    net.train()
    if freeze_batch_norm:
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
