"""Gradient checkpointing: less memory in training, for a second forward pass.

Chen et al., 2016 (https://arxiv.org/abs/1604.06174). The activations inside of a block or stage are
not kept for the backward pass but computed again in it, by the same operations and with the same
random numbers, so that gradients are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from tag2mask.errors import RecipeError


def checkpoint_gradients(model: Any, run: Callable[[], Iterable[Tensor]], *, where: str) -> None:
    """Let a timm model compute activations again in the backward pass instead of keeping them.

    Args:
        model: the model; batch norms in training mode would count each batch twice. Its mode and
            statistics stay as they are.
        run: runs a forward pass of it and returns the outputs.
        where: recipe key that asks for it, for the message.

    Raises:
        RecipeError: timm can't do that for this model, or it saves nothing.
    """
    if not (hasattr(model, "set_grad_checkpointing") and _saves_memory(model, run)):
        raise RecipeError(
            "timm can't compute the activations of this network again",
            where=where,
            fix="Set it to false; a smaller batch_size with a larger optimizer.accumulate takes "
            "less memory, too.",
        )


def can_checkpoint(model: Any) -> bool:
    """Return whether timm can compute the activations of a model again, where none are yet."""
    if not hasattr(model, "set_grad_checkpointing"):
        return False
    try:
        model.set_grad_checkpointing(True)
    except (AssertionError, NotImplementedError):
        return False
    model.set_grad_checkpointing(False)
    return True


def _saves_memory(model: nn.Module, run: Callable[[], Iterable[Tensor]]) -> bool:
    """Switch gradient checkpointing on, and return whether less is kept then."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()  # the statistics of batch norms must not change
    try:
        before = saved_bytes(run)
        with suppress(AssertionError, NotImplementedError):
            model.set_grad_checkpointing(True)  # type: ignore[operator]
        return saved_bytes(run) < before
    finally:
        for module, training in modes:
            module.training = training


def saved_bytes(run: Callable[[], Iterable[Tensor]]) -> int:
    """Return the size of the tensors that a forward pass keeps for the backward pass, bytes.

    Args:
        run: runs the forward pass and returns the outputs.
    """
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept):
        outputs = list(run())  # kept alive, so that no two tensors share an address
    del outputs
    return sum(sizes.values())
