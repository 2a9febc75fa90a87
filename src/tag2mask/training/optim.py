"""Parameter groups, optimizers and learning rate schedules.

As in the authors' code, new layers and biases have higher learning rates, and biases no weight
decay. The schedule is a pure function of the step, so a checkpoint stores no state of it.
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
    """Group the trainable parameters of a network by learning rate and weight decay.

    Args:
        net: the network; parameters with ``requires_grad=False`` are in no group.
        new: parameters of new layers, each with a factor of the learning rate (published: 10).
        lr: learning rate of all other parameters, which are pretrained.
        bias_lr: factor of the learning rate of biases (published: 2).
        weight_decay: weight decay; 0 for biases and parameters of norms (one dimension).

    Returns:
        Groups for a torch optimizer, the pretrained weights first. Each has ``base_lr``, which
        `set_lr` scales.
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
    """Build SGD with momentum, or AdamW with betas (0.9, 0.999)."""
    if name == "sgd":
        return torch.optim.SGD(groups, momentum=momentum)
    # The fused version passes over the memory once instead of ten times. Not all versions of torch
    # have it for MPS.
    return torch.optim.AdamW(groups, fused=None if torch.backends.mps.is_available() else True)


def schedule(
    step: int,
    steps: int,
    *,
    kind: Literal["poly", "cosine", "constant"],
    power: float = 0.9,
    warmup: int = 0,
) -> float:
    """Return the factor of the learning rate at a step.

    ``poly`` is the polynomial schedule (1 - step / steps) ** power, introduced with DeepLab (Chen
    et al., https://arxiv.org/abs/1606.00915, section 4.1) and used by SEAM's and AffinityNet's
    code. ``cosine`` is half a period of a cosine (Loshchilov and Hutter,
    https://arxiv.org/abs/1608.03983, without restarts).

    Args:
        step: optimizer step, 0 .. steps - 1.
        steps: number of optimizer steps of the training.
        kind: shape of the schedule.
        power: exponent of ``poly`` (published: 0.9).
        warmup: number of first steps in which the factor is also multiplied by a linear ramp.

    Returns:
        A factor in 0..1.

    Example:
        >>> schedule(50, 100, kind="cosine")
        0.5
        >>> round(schedule(50, 100, kind="poly", power=0.9), 4)
        0.5359
    """
    share = min(step / steps, 1.0)
    factor = 1.0
    if kind == "poly":
        factor = math.pow(1 - share, power)
    elif kind == "cosine":
        factor = 0.5 * (1 + math.cos(math.pi * share))
    return factor * min(1.0, (step + 1) / (warmup + 1))


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's learning rate to its ``base_lr`` times ``factor``."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


def freeze(net: nn.Module, parameters: Iterable[nn.Parameter], *, batch_norm: bool) -> None:
    """Freeze the given parameters and, with ``batch_norm``, those of every batch norm."""
    for parameter in parameters:
        parameter.requires_grad_(False)
    if batch_norm:
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                for parameter in module.parameters():
                    parameter.requires_grad_(False)


def train_mode(net: nn.Module, *, freeze_batch_norm: bool) -> None:
    """Set training mode; with ``freeze_batch_norm`` batch norms use their running statistics."""
    net.train()
    if freeze_batch_norm:
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
