"""timm models as backbones: the last map and two mid-level maps from one forward pass.

* ``last`` is the map that the ImageNet classifier reads. For EfficientNet these are the 1,280
  channels after ``conv_head``, which timm's ``features_only`` drops although pretraining put the
  evidence for classes there.
* Maps of convolutional networks with batch norms go through a ReLU. PCM's affinity compares
  directions of feature vectors, and linear bottlenecks (the MobileNet family) give features of both
  signs with a few dominant channels.
* Maps of networks with layer norms (ViT, Swin, ConvNeXt) keep their signs: half of what they say is
  below 0. The two for PCM are normalized in each cell, as such a network does before it reads them.
* Mid-level maps are chosen by stride. The default follows ResNet-38, whose conv4 is the first map
  at stride 8 and whose conv5 is a deeper one before the last. A ViT, whose blocks have one stride,
  gives those after 2/3 of its blocks and after the last.

Not supported: models of one fixed input size (Hiera: timm fixes its grid of tokens when it is
built), and models whose features aren't a 2-D map of the image.

Source of the models and their weights, EfficientNet-Lite included: PyTorch Image Models (timm),
https://github.com/huggingface/pytorch-image-models
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from timm.data import resolve_model_data_config
from timm.layers import RmsNorm
from torch import Tensor, nn

from tag2mask.errors import RecipeError
from tag2mask.nn.backbones.base import Features
from tag2mask.nn.backbones.timm_models import (
    as_map,
    create_timm,
    features_layout,
    patch_side,
    probe,
)
from tag2mask.nn.fast_conv import fold_batch_norms

STRIDES = (8, 16, 32)
AUTO_STRIDE = 16
"""Output stride for ``auto`` where the network can be dilated to it."""
FINEST_DEFAULT = 8
"""Smallest stride of the default finer map: finer maps show edges and colors, which PCM reads from
the image itself."""


class FeatureLevel(NamedTuple):
    """One intermediate map of a timm model."""

    position: int
    channels: int
    stride: int


class TimmBackbone(nn.Module):
    """A timm model with ``forward_intermediates``; implements :class:`Backbone`.

    Args:
        name: timm's name, such as ``convnext_tiny``.
        output_stride: at 8 and 16 late stages are dilated instead of strided, where timm supports
            that for the model. ``auto``: the patch of a ViT, else 16, else what the model gives.
        pcm_levels: strides of the two mid-level maps, finest first; None: the shallowest map at
            stride 8 and the deepest one at ``min(output_stride, 16)`` before the last map. Among
            several maps of one stride the finer level takes the shallowest, the coarser level the
            deepest. Of a ViT: the maps after 2/3 of the blocks and after the last.
        pretrained: whether timm downloads its weights.
        truncated: whether the stages below the output stride are left out, instead of dilated; the
            mid-level maps are then by default the two before the last.

    Raises:
        RecipeError: no such model, no intermediate maps, or a stride that it doesn't support.
        WeightsError: timm's weights can't be downloaded.

    Example:
        >>> import torch
        >>> backbone = TimmBackbone("resnet18", output_stride=16)
        >>> features = backbone(torch.zeros(1, 3, 64, 96))
        >>> features.last.shape
        torch.Size([1, 512, 4, 6])
    """

    def __init__(
        self,
        name: str,
        *,
        output_stride: int | Literal["auto"],
        pcm_levels: tuple[int, int] | None = None,
        pretrained: bool = False,
        truncated: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.truncated = truncated
        wanted_stride = AUTO_STRIDE if output_stride == "auto" else output_stride
        dilated_to = STRIDES[-1] if truncated else wanted_stride
        self.net: Any = create_timm(name, dilated_to, pretrained=pretrained)
        config = resolve_model_data_config(self.net)
        self.mean: tuple[float, float, float] = tuple(config["mean"])
        self.std: tuple[float, float, float] = tuple(config["std"])
        final, maps = probe(name, self.net)
        self._layout = features_layout(final, maps[-1], name)
        levels = [
            FeatureLevel(position, maps[position].shape[1], int(info["reduction"]))
            for position, info in enumerate(self.net.feature_info)
        ]
        last = as_map(final, maps[-1], self._layout)
        if truncated:
            levels = [level for level in levels if level.stride <= wanted_stride] or levels
            last = maps[levels[-1].position]
        self.stride = levels[-1].stride
        if output_stride not in ("auto", self.stride):
            value = self.stride if self.stride in STRIDES else "auto"
            raise RecipeError(
                f"{name} gives output stride {self.stride} only, not {output_stride}",
                where="backbone.output_stride",
                fix=f"Set it to {value} or choose another backbone.",
            )
        self.patch = patch_side(self.net)
        self.signed = _is_signed(self.net)
        if _is_isotropic(levels) and pcm_levels in (None, (self.stride, self.stride)):
            low, mid = levels[-(-2 * len(levels) // 3) - 1], levels[-1]
        elif truncated and pcm_levels is None and len(levels) > 2:
            low, mid = levels[-3:-1]
        else:
            low, mid = _choose_levels(name, levels, last.shape[1], pcm_levels)
        self._levels = (low, mid)
        self._deepest = levels[-1].position
        self.mid_strides = (low.stride, mid.stride)
        self.channels = (low.channels, mid.channels, int(last.shape[1]))
        self.size_multiple = self.stride
        self._unused = _unused_parameters(self.net, last)
        fold_batch_norms(self.net, lambda: _outputs(*probe(name, self.net)))

    def forward(self, image: Tensor) -> Features:
        """Return the three feature maps.

        Args:
            image: (b, 3, H, W), normalized by ``mean`` and ``std``.
        """
        wanted = sorted({*(level.position for level in self._levels), self._deepest})
        if self.truncated:
            maps = self.net.forward_intermediates(
                image, indices=wanted, stop_early=True, intermediates_only=True
            )
            last = maps[-1]
        else:
            final, maps = self.net.forward_intermediates(image, indices=wanted)
            last = as_map(final, maps[-1], self._layout)
        by_position = dict(zip(wanted, maps, strict=True))
        low, mid = (by_position[level.position] for level in self._levels)
        if self.signed:
            return Features(_normalized(low), _normalized(mid), last)
        return Features(F.relu(low), F.relu(mid), F.relu(last))

    def frozen(self) -> Iterator[nn.Parameter]:
        """Return the parameters that no map depends on (parts of the ImageNet head), if any.

        All other parameters of timm's models are trained; only ResNet-38 has frozen layers in the
        authors' code.
        """
        for name in self._unused:
            yield self.net.get_parameter(name)


def _is_signed(net: nn.Module) -> bool:
    """Return whether a network normalizes its maps instead of rectifying them."""
    kinds = [type(module) for module in net.modules()]
    batch = any(issubclass(kind, nn.modules.batchnorm._BatchNorm) for kind in kinds)
    return not batch and any(issubclass(kind, nn.LayerNorm | RmsNorm) for kind in kinds)


def _is_isotropic(levels: list[FeatureLevel]) -> bool:
    """Return whether all levels are of one grid, as the blocks of a ViT."""
    return len(levels) > 1 and len({level.stride for level in levels}) == 1


def _normalized(features: Tensor) -> Tensor:
    """Normalize the channels of each cell: (b, c, h, w) -> (b, c, h, w)."""
    cells = features.permute(0, 2, 3, 1)
    return F.layer_norm(cells, cells.shape[-1:]).permute(0, 3, 1, 2)


def _outputs(final: Tensor, maps: list[Tensor]) -> list[Tensor]:
    return [final, *maps]


def _choose_levels(
    name: str, levels: list[FeatureLevel], last_channels: int, strides: tuple[int, int] | None
) -> tuple[FeatureLevel, FeatureLevel]:
    """Choose the finer and the coarser mid-level map by their strides."""
    # If the deepest level has as many channels as the last map, it is the last map, perhaps before
    # a normalization.
    before = levels[:-1] if levels[-1].channels == last_channels else levels
    given = sorted({level.stride for level in levels})
    if strides is None:
        strides = _default_strides([level.stride for level in before])
    finer = [x for x in before if x.stride == strides[0]] or _at(levels, strides[0])
    coarser = [x for x in before if x.stride == strides[1]] or _at(levels, strides[1])
    if not finer or not coarser or finer[0].position >= coarser[-1].position:
        raise RecipeError(
            f"{name} has no two maps, finest first, at strides {strides[0]} and {strides[1]}",
            where="backbone.pcm_levels",
            fix=f"Choose among its strides {', '.join(map(str, given))}.",
        )
    return finer[0], coarser[-1]


def _at(levels: list[FeatureLevel], stride: int) -> list[FeatureLevel]:
    return [level for level in levels if level.stride == stride]


def _default_strides(strides: list[int]) -> tuple[int, int]:
    """Return the smallest strides of at least 8 and 16; if there is none, the coarsest one."""
    return (
        min((s for s in strides if s >= FINEST_DEFAULT), default=strides[-1]),
        min((s for s in strides if s >= 2 * FINEST_DEFAULT), default=strides[-1]),
    )


def _unused_parameters(net: nn.Module, last: Tensor) -> list[str]:
    """Return the names of parameters without a gradient from ``last``; DDP would wait for them."""
    parameters = dict(net.named_parameters())
    with torch.enable_grad():
        gradients = torch.autograd.grad(last.sum(), list(parameters.values()), allow_unused=True)
    return [name for name, g in zip(parameters, gradients, strict=True) if g is None]
