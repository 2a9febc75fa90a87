"""Depthwise convolutions whose gradients are fast on CPUs.

oneDNN has fast depthwise kernels at stride 1 and dilation 1, and for gradients of weights only for
3x3 kernels. Other gradients in bf16 fall back to a loop that is about 50 times slower. Here they
are reduced to the fast case:

* A dilated convolution is a plain one on interleaved sub-grids of the input.
* The gradient of a strided convolution's input is that of a convolution with stride 1 whose output
  gradient has zeros at the skipped positions.
* The gradient of a kernel larger than 3x3 is assembled from 3x3 parts.

Not covered: grouped convolutions with several channels per group.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_TILE = 3
"""Side of the kernels for which oneDNN has fast gradients."""


def depthwise_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    """Compute a depthwise convolution with fast gradients on CPUs.

    Args:
        x: (b, c, h, w).
        weight: (c, 1, k, k), k odd and at least 3.
        bias: (c,) or None.
        stride: along both axes.
        padding: zeros on each side; a multiple of the dilation.
        dilation: along both axes; above 1 only with stride 1.

    Returns:
        The result of ``F.conv2d(..., groups=c)``, (b, c, h', w'), in channels-last memory order.
        Under autocast in its data type.

    Example:
        >>> x, weight = torch.randn(1, 4, 9, 9), torch.randn(4, 1, 5, 5)
        >>> out = depthwise_conv(x, weight, None, padding=4, dilation=2)
        >>> torch.allclose(out, F.conv2d(x, weight, None, 1, 4, 2, groups=4), atol=1e-5)
        True
    """
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    if dilation == 1:
        return _conv(x, weight, bias, stride, padding)
    span = dilation * (weight.shape[2] - 1) - 2 * padding
    height, width = x.shape[2] - span, x.shape[3] - span
    grids = _conv(_interleave(x, dilation), weight, bias, 1, padding // dilation)
    out = _join(grids, dilation)[:, :, :height, :width]
    return out.contiguous(memory_format=torch.channels_last)


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    out: Tensor = _DepthwiseConv.apply(x, weight, bias, stride, padding)
    return out


def _interleave(x: Tensor, step: int) -> Tensor:
    """Split into sub-grids of every step-th row and column, padded with zeros if need be.

    (b, c, h, w) -> (b * step * step, c, ceil(h / step), ceil(w / step)).
    """
    x = F.pad(x, (0, -x.shape[3] % step, 0, -x.shape[2] % step)).permute(0, 2, 3, 1)
    batch, height, width, channels = x.shape
    grid = x.reshape(batch, height // step, step, width // step, step, channels)
    grid = grid.permute(0, 2, 4, 1, 3, 5)
    grids: Tensor = grid.reshape(-1, height // step, width // step, channels)
    return grids.permute(0, 3, 1, 2)


def _join(grids: Tensor, step: int) -> Tensor:
    """Invert `_interleave`; its padding stays."""
    count, channels, height, width = grids.shape
    grid = grids.permute(0, 2, 3, 1).reshape(count // step**2, step, step, height, width, channels)
    grid = grid.permute(0, 3, 1, 4, 2, 5)
    return grid.reshape(-1, height * step, width * step, channels).permute(0, 3, 1, 2)


class _DepthwiseConv(torch.autograd.Function):
    """Depthwise convolution without dilation, channels last."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        x, weight = ctx.saved_tensors
        wanted_x, wanted_weight, wanted_bias = ctx.needs_input_grad[:3]
        grad_x = grad_weight = grad_bias = None
        if wanted_x:
            grad_x = _grad_input(grad, x, weight, ctx.stride, ctx.padding)
        if wanted_weight:
            grad_weight = _grad_weight(grad, x, weight, ctx.stride, ctx.padding)
        if wanted_bias:
            grad_bias = grad.sum((0, 2, 3))
        return grad_x, grad_weight, grad_bias, None, None


def _grad_input(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    if stride > 1 and grad.dtype is not torch.float32:
        # A strided convolution keeps every stride-th output of the one with stride 1; the outputs
        # that it drops have gradient 0.
        height, width = (side + 2 * padding - weight.shape[2] + 1 for side in x.shape[2:])
        spread = grad.new_zeros(len(grad), height, width, len(weight)).permute(0, 3, 1, 2)
        spread[:, :, ::stride, ::stride] = grad
        grad, stride = spread, 1
    return _native_gradients(grad, x, weight, stride, padding, (True, False))[0]


def _grad_weight(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    side = weight.shape[2]
    if side == _TILE:
        return _native_gradients(grad, x, weight, stride, padding, (False, True))[1]
    # Kernel element (u, v) multiplies input (stride * i + u, stride * j + v) for output (i, j). So
    # the gradient of a 3x3 part of the kernel is that of a 3x3 convolution of a shifted input.
    x = F.pad(x, (padding,) * 4)
    height, width = (stride * (cells - 1) + _TILE for cells in grad.shape[2:])
    part = weight[:, :, :_TILE, :_TILE].contiguous()
    result = torch.empty_like(weight)
    for u in range(0, side - 1, _TILE - 1):
        for v in range(0, side - 1, _TILE - 1):
            shifted = x[:, :, u : u + height, v : v + width].contiguous(
                memory_format=torch.channels_last
            )
            result[:, :, u : u + _TILE, v : v + _TILE] = _native_gradients(
                grad, shifted, part, stride, 0, (False, True)
            )[1]
    return result


def _native_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Return torch's gradients of input and weight, as ``wanted``."""
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        None,
        (stride, stride),
        (padding, padding),
        (1, 1),
        False,
        (0, 0),
        len(weight),
        (*wanted, False),
    )
    return gradients[:2]


def is_fast_depthwise(conv: Any) -> bool:
    """Return whether `depthwise_conv` supports this convolution."""
    side, (stride, other_stride), (dilation, other_dilation) = (
        conv.kernel_size[0],
        conv.stride,
        conv.dilation,
    )
    return (
        1 < conv.groups == conv.in_channels == conv.out_channels
        and conv.kernel_size == (side, side)
        and side % 2 == 1
        and side >= _TILE
        and stride == other_stride
        and dilation == other_dilation
        and (dilation == 1 or stride == 1)
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and conv.padding[0] == conv.padding[1]
        and conv.padding[0] % dilation == 0
    )
