"""A copy of a trained network for inference and export, made of plain torch layers.

It computes the same:

* Batch norms that `fast_conv` folds into kernels in each forward pass are folded once.
* TensorFlow's "same" padding depends on the image's size, unless the stride divides the size; then
  it is constant. An exporter would have to trace that arithmetic through the network, so the
  padding can be fixed for it.
* Adaptive average pooling, used by pyramid pooling modules, becomes two matrix products: ONNX has
  no adaptive pooling for inputs of variable size.
* Depthwise convolutions with wide padding, as dilated ones have, are padded in a layer before them.
  On CPUs oneDNN's fast kernel pads by at most 6 px; beyond, a loop about ten times slower is used.
  On other devices this costs a copy of these maps.

The copy can't be trained further.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn

from tag2mask.nn.fast_conv import FastConv2d, FoldedBatchNorm

Net = TypeVar("Net", bound=nn.Module)

_FAST_PADDING = 6
"""Widest padding, px, of oneDNN's fast depthwise kernel."""


def plain_copy(net: Net, *, fixed_padding: bool = False) -> Net:
    """Copy a network for inference; the original isn't changed.

    Args:
        net: network in evaluation mode.
        fixed_padding: use constant widths for TensorFlow's "same" padding. The sides of the maps
            that these convolutions read must then be multiples of their strides.

    Returns:
        The copy, in evaluation mode, with ``requires_grad=False`` for all parameters.
    """
    assert not net.training
    copied = copy.deepcopy(net)
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if isinstance(child, FastConv2d | Conv2dSame) or _pads_slowly(child):
                setattr(module, name, _plain_convolution(child, fixed_padding))
            elif isinstance(child, FoldedBatchNorm):
                setattr(module, name, nn.Sequential(child.drop, child.act))
            elif isinstance(child, nn.AdaptiveAvgPool2d):
                setattr(module, name, _WindowMeans(child.output_size))
    return copied.eval().requires_grad_(False)


def inference_copy(net: Net, device: torch.device) -> Net:
    """Return `plain_copy` on a device, in the memory order that `memory_format` recommends."""
    copied: Net = plain_copy(net).to(device, memory_format=memory_format(device))  # type: ignore[call-overload]
    return copied


def memory_format(device: torch.device) -> torch.memory_format:
    """Return the memory order in which a device is fastest for depthwise convolutions.

    CPUs: channels last. CUDA: contiguous, for which torch has depthwise kernels of its own. For
    channels last it uses cuDNN, which plans each convolution for every new size of photo; that
    takes seconds per network and size.
    """
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


class _WindowMeans(nn.Module):
    """``AdaptiveAvgPool2d`` as two matrix products.

    Window i of n along a side of s cells is floor(i * s / n) .. ceil((i + 1) * s / n) - 1.

    Args:
        windows: (rows, columns) of the result; one number for both.
    """

    def __init__(self, windows: Any) -> None:
        super().__init__()
        self.rows: int
        self.columns: int
        self.rows, self.columns = (windows, windows) if isinstance(windows, int) else windows

    def forward(self, x: Tensor) -> Tensor:
        """Return the means, (b, c, h, w) -> (b, c, rows, columns)."""
        rows, columns = _shares(self.rows, x.shape[2]), _shares(self.columns, x.shape[3])
        return rows.to(x) @ x @ columns.to(x).T


def _shares(windows: int, side: int) -> Tensor:
    """Return the weight of each cell in the mean of each window, float32 (windows, side)."""
    window, cell = torch.arange(windows)[:, None], torch.arange(side)
    first, end = window * side // windows, -(-(window + 1) * side // windows)
    return ((cell >= first) & (cell < end)) / (end - first)


def _pads_slowly(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and 1 < module.groups == module.in_channels
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and max(module.padding) > _FAST_PADDING
    )


@torch.no_grad()
def _plain_convolution(conv: Any, fixed_padding: bool) -> nn.Module:
    """Return a plain convolution with its batch norm folded in, after a padding layer if needed."""
    weight, bias = conv.folded() if isinstance(conv, FastConv2d) else (conv.weight, conv.bias)
    same = conv.same_padding if isinstance(conv, FastConv2d) else isinstance(conv, Conv2dSame)
    padded_before = same or _pads_slowly(conv)
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        0 if padded_before else conv.padding,
        conv.dilation,
        conv.groups,
        bias is not None,
        conv.padding_mode,
        device="meta",
    )
    plain.weight = nn.Parameter(weight)
    plain.bias = None if bias is None else nn.Parameter(bias)
    return nn.Sequential(_padding(conv, same, fixed_padding), plain) if padded_before else plain


def _padding(conv: Any, same: bool, fixed: bool) -> nn.Module:
    """Return the layer that pads the input of a convolution."""
    if same:
        return nn.ZeroPad2d(_same_padding(conv)) if fixed else _SamePadding(conv)
    rows, columns = conv.padding
    return nn.ZeroPad2d((columns, columns, rows, rows))


class _SamePadding(nn.Module):
    """TensorFlow's "same" padding for inputs of any size.

    Args:
        conv: the convolution that reads the padded input.
    """

    def __init__(self, conv: Any) -> None:
        super().__init__()
        self._window = conv.kernel_size, conv.stride, conv.dilation

    def forward(self, x: Tensor) -> Tensor:
        """Pad with zeros, (b, c, h, w) -> (b, c, h', w')."""
        padded: Tensor = pad_same(x, *self._window)
        return padded


def _same_padding(conv: Any) -> tuple[int, int, int, int]:
    """Return the zeros left, right, above and below an input whose sides the strides divide."""
    rows, columns = (
        max(0, dilation * (kernel - 1) + 1 - stride)
        for kernel, stride, dilation in zip(
            conv.kernel_size, conv.stride, conv.dilation, strict=True
        )
    )
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2
