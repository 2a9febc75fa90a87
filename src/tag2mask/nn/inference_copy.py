"""A trained network as layers of torch alone: what exporters understand, and runtimes run best.

The result is the same:

* Batch norms that `fast_conv` folds into kernels anew in each pass are folded for good.
* The padding of TensorFlow's convolutions ("same") depends on the image's size, unless the stride
  divides that; then it is always the same. An exporter would have to carry that arithmetic through
  the whole network, so for it the padding can be fixed.
* Means over a fixed number of windows, which pyramid poolings take, become products of matrices:
  ONNX has no such pooling of images of any size.
* Depthwise convolutions that pad widely, as dilated ones do, get their zeros beforehand: on CPUs
  oneDNN's fast kernel pads by 6 px at most, beyond which a loop some ten times slower takes over.
  Elsewhere that costs a copy of these maps.

Left out: training it further.
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


def plain_copy(net: Net, *, fixed_padding: bool = False) -> Net:
    """Copy a network for inference; the given one stays as it is.

    Args:
        net: in evaluation mode.
        fixed_padding: pad by fixed widths what TensorFlow's convolutions pad by the image's size.
            The sides of what they read must then be multiples of their strides.

    Returns:
        A network in evaluation mode without gradients.
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
    """`plain_copy` on a device, laid out in memory as `memory_format` says."""
    copied: Net = plain_copy(net).to(device, memory_format=memory_format(device))  # type: ignore[call-overload]
    return copied


def memory_format(device: torch.device) -> torch.memory_format:
    """How a device computes networks with depthwise convolutions in the least time.

    CPUs: channels last. CUDA: contiguous, for which torch has depthwise kernels of its own; cuDNN's
    for channels last are planned anew for every size of photo, which takes seconds for a network.
    """
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


class _WindowMeans(nn.Module):
    """``AdaptiveAvgPool2d``: window i of n over a side of s cells is floor(is/n)..ceil((i+1)s/n).

    Args:
        windows: rows and columns of windows; one number for both.
    """

    def __init__(self, windows: Any) -> None:
        super().__init__()
        self.rows: int
        self.columns: int
        self.rows, self.columns = (windows, windows) if isinstance(windows, int) else windows

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, c, rows, columns)."""
        rows, columns = _shares(self.rows, x.shape[2]), _shares(self.columns, x.shape[3])
        return rows.to(x) @ x @ columns.to(x).T


def _shares(windows: int, side: int) -> Tensor:
    """What each cell adds to each window's mean, float32 (windows, side)."""
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
    """A convolution with its batch norm's scale and shift, behind its padding."""
    weight, bias = conv.folded() if isinstance(conv, FastConv2d) else (conv.weight, conv.bias)
    same = conv.same_padding if isinstance(conv, FastConv2d) else isinstance(conv, Conv2dSame)
    apart = same or _pads_slowly(conv)
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        conv.stride,
        0 if apart else conv.padding,
        conv.dilation,
        conv.groups,
        bias is not None,
        conv.padding_mode,
        device="meta",
    )
    plain.weight = nn.Parameter(weight)
    plain.bias = None if bias is None else nn.Parameter(bias)
    return nn.Sequential(_padding(conv, same, fixed_padding), plain) if apart else plain


def _padding(conv: Any, same: bool, fixed: bool) -> nn.Module:
    """What pads the images that a convolution reads."""
    if same:
        return nn.ZeroPad2d(_same_padding(conv)) if fixed else _SamePadding(conv)
    rows, columns = conv.padding
    return nn.ZeroPad2d((columns, columns, rows, rows))


class _SamePadding(nn.Module):
    """TensorFlow's padding of an image of any size.

    Args:
        conv: the convolution that reads it.
    """

    def __init__(self, conv: Any) -> None:
        super().__init__()
        self._window = conv.kernel_size, conv.stride, conv.dilation

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, c, h + ..., w + ...)."""
        padded: Tensor = pad_same(x, *self._window)
        return padded


def _same_padding(conv: Any) -> tuple[int, int, int, int]:
    """Zeros left, right, above and below an image whose sides the strides divide."""
    rows, columns = (
        max(0, dilation * (kernel - 1) + 1 - stride)
        for kernel, stride, dilation in zip(
            conv.kernel_size, conv.stride, conv.dilation, strict=True
        )
    )
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2
