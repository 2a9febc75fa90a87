"""Deterministic bilinear resizing on GPUs, as matrix products.

On a GPU the backward pass of torch's bilinear resize uses atomic additions, whose order and so
whose rounding changes from run to run. With ``torch.use_deterministic_algorithms`` it sorts
millions of indices instead, which took most of a training step. A resize is linear in rows and in
columns, so two small matrices compute the same in both passes, deterministically and fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


def repeatable_resizing(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which ``F.interpolate`` is deterministic, in library modules too.

    Every torch function takes slightly longer inside it, so it should enclose only the forward and
    backward pass of a network.

    Args:
        device: device of the tensors. Only CUDA needs this; torch's resize is deterministic on a
            CPU, where the context does nothing.
    """
    return BilinearByMatrices(device) if device.type == "cuda" else nullcontext()


def resize_bilinear(maps: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Compute ``F.interpolate(maps, size, mode="bilinear")`` as two matrix products in float32.

    Args:
        maps: floating point, (b, c, h, w).
        size: (h', w') of the result.
        align_corners: as in ``F.interpolate``.

    Returns:
        (b, c, h', w') of the same data type.

    Example:
        >>> maps = torch.tensor([[[[0.0, 2.0]]]])
        >>> resize_bilinear(maps, (1, 3), align_corners=True).tolist()
        [[[[0.0, 1.0, 2.0]]]]
    """
    rows = _weights(maps.shape[2], size[0], align_corners, maps.device)
    columns = _weights(maps.shape[3], size[1], align_corners, maps.device)
    return resize_by_matrices(maps, rows, columns)


class BilinearByMatrices(TorchFunctionMode):
    """Torch function mode that replaces ``F.interpolate`` by `resize_bilinear` where possible.

    Args:
        device: only tensors on devices of this type are handled.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device_type = device.type

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is F.interpolate:
            call = _bilinear_call(*args, **given)
            if call is not None and call[0].device.type == self._device_type:
                maps, size, align_corners = call
                return resize_bilinear(maps, size, align_corners=align_corners)
        return func(*args, **given)


def _bilinear_call(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    **others: Any,
) -> tuple[Tensor, tuple[int, int], bool] | None:
    """Return (maps, size, align_corners) of a call of ``F.interpolate``; None: left to torch."""
    if (
        mode != "bilinear"
        or antialias
        or others
        or input.ndim != 4
        or input.dtype not in (torch.float32, torch.bfloat16, torch.float16)
    ):
        return None
    if size is None:
        factors = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor,) * 2
        exact = [side * factor for side, factor in zip(input.shape[2:], factors, strict=True)]
        if any(side != int(side) for side in exact):
            return None  # torch then samples by the factor, not by the ratio of the sizes
        size = exact
    height, width = size if isinstance(size, tuple | list | torch.Size) else (size, size)
    return input, (int(height), int(width)), bool(align_corners)


@lru_cache(maxsize=512)
def _weights(before: int, after: int, align_corners: bool, device: torch.device) -> Tensor:
    """Return the weight of each input row in each row of the result, float32 (after, before)."""
    with torch.inference_mode(False), torch.no_grad():
        unit = torch.eye(before, dtype=torch.float64)[None]
        weights = F.interpolate(unit, after, mode="linear", align_corners=align_corners)
        return weights[0].T.to(device, torch.float32).contiguous()


def resize_by_matrices(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Resize with two matrices, in float32 also under autocast.

    Args:
        x: floating point, (b, c, h, w).
        rows: float32 (h', h), weight of each input row in each row of the result.
        columns: float32 (w', w), weight of each input column in each column of the result.

    Returns:
        (b, c, h', w') of the same data type as ``x``.
    """
    with torch.autocast(x.device.type, enabled=False):
        return (rows @ (x.float() @ columns.T)).to(x.dtype)
