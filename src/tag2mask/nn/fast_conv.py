"""The convolutions of a network, computed in less time with the same result.

Two things slow the training of light networks on CPUs, and both are mended without changing names
of tensors, so that weights load from and into the plain network:

* A batch norm on running statistics is an affine map per channel. Scaling the kernels of the
  convolution before it gives the same output, and the passes over the maps, forward and backward,
  are saved. Kernels are scaled anew in each forward pass, so gradients stay exact, and a batch norm
  that learns its statistics is left alone.
* oneDNN has fast depthwise kernels at stride 1 and dilation 1, and 3x3 for gradients of weights;
  other bf16 gradients fall to a loop some 50 times slower. They are led back to the fast case: a
  dilated convolution is a plain one on interleaved sub-grids; the gradient of a strided one's input
  is that of a plain one whose output gradient has zeros between; a larger kernel's gradient is put
  together from 3x3 parts.

Left out: convolutions with fewer groups than channels, and fusing activations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, Conv2dSame, pad_same
from torch import Tensor, nn

_CONVOLUTIONS = (nn.Conv2d, Conv2dSame)
_NORMS = (nn.BatchNorm2d, BatchNormAct2d)
_TILE = 3
"""Side of the kernels whose gradients are fast."""


def fold_batch_norms(net: nn.Module, run: Callable[[], Iterable[Tensor]]) -> None:
    """Replace, in place, the convolutions and batch norms of a network by faster equals.

    Parameters and buffers stay the same objects under the same names.

    Args:
        net: the network, holding its parts as plain ``Conv2d`` and ``BatchNorm2d`` modules (or
            timm's variants of them); anything else stays.
        run: one forward pass in evaluation mode with gradients enabled; returns all outputs.
    """
    norm_after = _foldable(net, run)
    faster: dict[nn.Module, nn.Module] = {}
    for conv, norm in norm_after.items():
        folded = FoldedBatchNorm(norm)
        faster[norm] = folded
        faster[conv] = FastConv2d(conv, folded)
    for module in list(net.modules()):
        for name, child in module.named_children():
            if child in faster:
                setattr(module, name, faster[child])
            elif type(child) in _CONVOLUTIONS and _is_depthwise(child):
                setattr(module, name, FastConv2d(child, None))


class FoldedBatchNorm(nn.BatchNorm2d):
    """A batch norm whose work the `FastConv2d` before it does, unless it is in training mode.

    Args:
        norm: the batch norm whose tensors (and, for timm's, activation) it takes over.
    """

    def __init__(self, norm: Any) -> None:
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum, device="meta")
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.drop = getattr(norm, "drop", nn.Identity())
        self.act = getattr(norm, "act", nn.Identity())
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize if in training mode, then activate; (b, c, h, w) -> (b, c, h, w)."""
        x = super().forward(x) if self.training else x
        activated: Tensor = self.act(self.drop(x))
        return activated

    def affine_map(self) -> tuple[Tensor, Tensor]:
        """Scale and shift per channel, (c,) each, that the running statistics amount to."""
        assert self.running_mean is not None and self.running_var is not None
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale


class FastConv2d(nn.Conv2d):
    """A convolution with the batch norm after it folded in, and fast depthwise gradients on CPUs.

    Args:
        conv: the convolution whose tensors it takes over.
        norm: the batch norm that reads its output and nothing else does; None: none.
    """

    def __init__(self, conv: Any, norm: FoldedBatchNorm | None) -> None:
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
            conv.bias is not None,
            conv.padding_mode,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.same_padding = isinstance(conv, Conv2dSame)
        self.depthwise = _is_depthwise(conv)
        self._norm = (norm,)  # in a tuple: not a submodule, or its tensors had two names
        self.train(conv.training)

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """Kernel and bias, with the batch norm in them unless that is in training mode."""
        weight, bias = self.weight, self.bias
        (norm,) = self._norm
        if norm is None or norm.training:
            return weight, bias
        scale, shift = norm.affine_map()
        return (
            weight * scale[:, None, None, None],
            shift if bias is None else bias * scale + shift,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, (b, c, h, w) -> (b, c', h', w')."""
        weight, bias = self.folded()
        if self.same_padding:
            x = pad_same(x, self.kernel_size, self.stride, self.dilation)
        if self.depthwise and x.device.type == "cpu" and torch.is_grad_enabled():
            stride, padding, dilation = self.stride[0], int(self.padding[0]), self.dilation[0]
            return depthwise_conv(x, weight, bias, stride, padding, dilation)
        out: Tensor = self._conv_forward(x, weight, bias)
        return out


def depthwise_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    """A depthwise convolution whose gradients are fast on CPUs.

    Args:
        x: (b, c, h, w).
        weight: (c, 1, k, k), k odd.
        bias: (c,) or None.
        stride: of both sides.
        padding: zeros on each side; a multiple of the dilation.
        dilation: of both sides; more than 1 with stride 1 only.

    Returns:
        What ``F.conv2d`` with ``groups=c`` returns, channels last.
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
    """Every step-th row and column: (b, c, h, w) -> (b * step * step, c, h / step, w / step).

    Padded with zeros where the step doesn't divide the sides.
    """
    x = F.pad(x, (0, -x.shape[3] % step, 0, -x.shape[2] % step)).permute(0, 2, 3, 1)
    batch, height, width, channels = x.shape
    grid = x.reshape(batch, height // step, step, width // step, step, channels)
    grid = grid.permute(0, 2, 4, 1, 3, 5)
    grids: Tensor = grid.reshape(-1, height // step, width // step, channels)
    return grids.permute(0, 3, 1, 2)


def _join(grids: Tensor, step: int) -> Tensor:
    """The inverse of `_interleave`, padding included."""
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
        # The strided outputs are some of those at stride 1; the others have no gradient.
        height, width = (side + 2 * padding - weight.shape[2] + 1 for side in x.shape[2:])
        spread = grad.new_zeros(len(grad), height, width, len(weight)).permute(0, 3, 1, 2)
        spread[:, :, ::stride, ::stride] = grad
        grad, stride = spread, 1
    return _native_gradients(grad, x, weight, stride, padding, (True, False))[0]


def _grad_weight(grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    side = weight.shape[2]
    if side == _TILE:
        return _native_gradients(grad, x, weight, stride, padding, (False, True))[1]
    # Output (i, j) of the kernel's element (u, v) reads input (stride i + u, stride j + v), so each
    # 3x3 part of the kernel sees a shifted input.
    x = F.pad(x, (padding,) * 4)
    height, width = (stride * (cells - 1) + _TILE for cells in grad.shape[2:])
    part = weight[:, :, :_TILE, :_TILE].contiguous()
    result = torch.empty_like(weight)
    for u in range(0, side - 1, _TILE - 1):
        for v in range(0, side - 1, _TILE - 1):
            seen = x[:, :, u : u + height, v : v + width].contiguous(
                memory_format=torch.channels_last
            )
            result[:, :, u : u + _TILE, v : v + _TILE] = _native_gradients(
                grad, seen, part, stride, 0, (False, True)
            )[1]
    return result


def _native_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Torch's own gradients of input and weight."""
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


def _is_depthwise(conv: Any) -> bool:
    """Whether `depthwise_conv` computes this convolution."""
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


def _foldable(net: nn.Module, run: Callable[[], Iterable[Tensor]]) -> dict[Any, Any]:
    """Convolutions with the batch norm that reads their output, where nothing else reads it.

    Told by the graph of one forward pass, not by names: any network may be given.
    """
    made_by: dict[Any, nn.Module] = {}
    read_by: dict[Any, nn.Module] = {}
    calls: Counter[nn.Module] = Counter()

    def made(module: nn.Module, _: Any, output: Tensor) -> None:
        calls[module] += 1
        made_by[output.grad_fn] = module

    def read(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls[module] += 1
        read_by[inputs[0].grad_fn] = module

    hooks = []
    for module in net.modules():
        if type(module) in _CONVOLUTIONS:
            hooks.append(module.register_forward_hook(made))
        elif type(module) in _NORMS and module.affine and module.track_running_stats:
            hooks.append(module.register_forward_pre_hook(read))
    try:
        outputs = list(run())
    finally:
        for hook in hooks:
            hook.remove()
    readers = _readers(outputs)
    return {
        conv: read_by[node]
        for node, conv in made_by.items()
        if node is not None
        and node in read_by
        and readers[node] == 1
        and calls[conv] == calls[read_by[node]] == 1
    }


def _readers(outputs: list[Tensor]) -> Counter[Any]:
    """How often each node of the autograd graph is read; being an output counts."""
    nodes = [output.grad_fn for output in outputs]
    count: Counter[Any] = Counter(nodes)
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        for before, _ in node.next_functions if node is not None else ():
            count[before] += 1
            if before not in seen:
                seen.add(before)
                nodes.append(before)
    return count
