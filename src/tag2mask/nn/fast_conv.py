"""Faster training of light networks on CPUs: frozen batch norms folded into convolutions.

A batch norm that uses its running statistics is an affine map per channel. Scaling the kernels of
the convolution before it gives the same output and saves its passes over the feature maps, forward
and backward. Kernels are scaled in each forward pass, so gradients stay exact. A batch norm in
training mode is computed as usual.

Depthwise convolutions are replaced too, see `depthwise_conv`, and so are convolutions whose
gradient crashes oneDNN, see `crashes_onednn`. Tensor names stay the same, so weights load from
and into the unmodified network.

Not done: fusing activations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import BatchNormAct2d, Conv2dSame, pad_same
from torch import Tensor, nn

from tag2mask.nn.depthwise_conv import depthwise_conv, is_fast_depthwise

_CONVOLUTIONS = (nn.Conv2d, Conv2dSame)
_NORMS = (nn.BatchNorm2d, BatchNormAct2d)
_SAFE_CHANNELS = 16
"""Input channels from which strided 1x1 convolutions are left to oneDNN."""


def fold_batch_norms(net: nn.Module, run: Callable[[], Iterable[Tensor]]) -> None:
    """Replace, in place, convolutions and batch norms of a network with faster equivalents.

    Parameters and buffers stay the same objects under the same names.

    Args:
        net: the network. Modules of exactly the types ``Conv2d`` and ``BatchNorm2d`` (or timm's
            variants of them) are replaced; subclasses and other modules stay.
        run: runs one forward pass in evaluation mode with gradients enabled, and returns all
            outputs. A batch norm is folded only if this pass shows that nothing else reads the
            output of its convolution.
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
            elif type(child) in _CONVOLUTIONS and (
                is_fast_depthwise(child) or crashes_onednn(child)
            ):
                setattr(module, name, FastConv2d(child, None))


def crashes_onednn(conv: nn.Module) -> bool:
    """Return whether the gradient of a convolution's kernel may crash the process on a CPU.

    Seen with torch 2.14 for strided 1x1 convolutions of 2 to 12 channels in channels-last order,
    such as the first ones of RepVGG: the process ends with SIGSEGV or a damaged heap. `FastConv2d`
    reads every ``stride``-th pixel first, which gives the same sums.
    """
    return (
        isinstance(conv, nn.Conv2d)
        and conv.kernel_size == (1, 1)
        and conv.stride != (1, 1)
        and conv.groups == 1
        and conv.padding == (0, 0)
        and conv.in_channels < _SAFE_CHANNELS
    )


class FoldedBatchNorm(nn.BatchNorm2d):
    """A batch norm that is computed by the `FastConv2d` before it, unless it is in training mode.

    Args:
        norm: the batch norm whose tensors, and for timm's variant activation, are used.
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
        """Normalize if in training mode, then apply timm's activation; (b, c, h, w) -> same."""
        x = super().forward(x) if self.training else x
        activated: Tensor = self.act(self.drop(x))
        return activated

    def affine_map(self) -> tuple[Tensor, Tensor]:
        """Return scale and shift per channel, (c,) each, equivalent to the running statistics."""
        assert self.running_mean is not None and self.running_var is not None
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale


class FastConv2d(nn.Conv2d):
    """A convolution with the following batch norm folded in, and fast depthwise gradients on CPUs.

    Args:
        conv: the convolution whose tensors are used.
        norm: the batch norm after it, the only reader of its output; None: no batch norm.
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
        self.depthwise = is_fast_depthwise(conv)
        self.subsampled = crashes_onednn(conv)
        self._norm = (
            norm,
        )  # a tuple hides it from torch; as a submodule its tensors would have two names
        self.train(conv.training)

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """Return kernel and bias, scaled by the batch norm unless that is in training mode."""
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
        """Return the convolution, (b, c, h, w) -> (b, c', h', w')."""
        weight, bias = self.folded()
        if self.same_padding:
            x = pad_same(x, self.kernel_size, self.stride, self.dilation)
        if self.depthwise and x.device.type == "cpu" and torch.is_grad_enabled():
            stride, padding, dilation = self.stride[0], int(self.padding[0]), self.dilation[0]
            return depthwise_conv(x, weight, bias, stride, padding, dilation)
        if self.subsampled and x.device.type == "cpu":
            return F.conv2d(x[..., :: self.stride[0], :: self.stride[1]], weight, bias)
        out: Tensor = self._conv_forward(x, weight, bias)
        return out


def _foldable(net: nn.Module, run: Callable[[], Iterable[Tensor]]) -> dict[Any, Any]:
    """Return the batch norm of each convolution whose output is read only by that batch norm.

    The pairs are found in the autograd graph of one forward pass, which works for any network;
    names or positions of modules don't say who reads an output.
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
    """Count the readers of each node of the autograd graph; an output counts as read."""
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
