"""Bilinear resizing on GPUs as matrix products: the same gradients each time, at full speed.

On a GPU torch's own backward pass of a bilinear resize adds numbers up in any order. Asked for
repeatable algorithms it sorts millions of indices instead, which took most of a training step. A
resize is linear in rows and in columns, so two small matrices do the same, forwards and backwards.
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
    """A context in which ``interpolate`` is repeatable on a device, in other people's modules too.

    Every call of torch takes a little longer in it: it belongs around a network's passes alone.

    Args:
        device: of the tensors; elsewhere torch's own stays, which is repeatable on a CPU.
    """
    return BilinearByMatrices(device) if device.type == "cuda" else nullcontext()


def resize_bilinear(maps: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """``F.interpolate(maps, size, mode="bilinear")`` as two matrix products in float32.

    Args:
        maps: floating, (b, c, h, w).
        size: (h', w') of the result.
        align_corners: as torch means it.

    Returns:
        (b, c, h', w') of the same dtype.
    """
    rows = _weights(maps.shape[2], size[0], align_corners, maps.device)
    columns = _weights(maps.shape[3], size[1], align_corners, maps.device)
    return resize_by_matrices(maps, rows, columns)


class BilinearByMatrices(TorchFunctionMode):
    """Takes calls of ``interpolate`` that `resize_bilinear` can answer, wherever they are made.

    Args:
        device: kind of device whose tensors are taken.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._kind = device.type

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is F.interpolate:
            wanted = _wanted(*args, **given)
            if wanted is not None and wanted[0].device.type == self._kind:
                maps, size, align_corners = wanted
                return resize_bilinear(maps, size, align_corners=align_corners)
        return func(*args, **given)


def _wanted(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
    **others: Any,
) -> tuple[Tensor, tuple[int, int], bool] | None:
    """Maps, size and convention of a call (the arguments are torch's); None: not for us."""
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
            return None  # torch then places the samples by the factor, not by the sizes
        size = exact
    height, width = size if isinstance(size, tuple | list | torch.Size) else (size, size)
    return input, (int(height), int(width)), bool(align_corners)


@lru_cache(maxsize=512)
def _weights(before: int, after: int, align_corners: bool, device: torch.device) -> Tensor:
    """How much each row of the result takes of each given one, float32 (after, before)."""
    with torch.inference_mode(False), torch.no_grad():
        unit = torch.eye(before, dtype=torch.float64)[None]
        weights = F.interpolate(unit, after, mode="linear", align_corners=align_corners)
        return weights[0].T.to(device, torch.float32).contiguous()


def resize_by_matrices(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Resize by matrices, in float32 whatever the precision around it.

    Args:
        x: floating, (b, c, h, w).
        rows: float32 (h', h), how much each row of the result takes of each given one.
        columns: float32 (w', w), likewise.

    Returns:
        (b, c, h', w') of the same dtype.
    """
    with torch.autocast(x.device.type, enabled=False):
        return (rows @ (x.float() @ columns.T)).to(x.dtype)
