"""timm models as backbones: the last map and two mid-level maps from one forward pass.

* ``last`` is the map that the ImageNet classifier reads. For EfficientNet these are the 1,280
  channels after ``conv_head``, which timm's ``features_only`` drops although pretraining put the
  evidence for classes there.
* Every map goes through a ReLU. PCM's affinity compares directions of feature vectors, and linear
  bottlenecks (the MobileNet family) give features of both signs with a few dominant channels.
* Mid-level maps are chosen by stride. The default follows ResNet-38, whose conv4 is the first map
  at stride 8 and whose conv5 is a deeper one before the last.

Not supported: models of one fixed input size, and models whose features aren't a 2-D map of the
image.

Source of the models and their weights, EfficientNet-Lite included: PyTorch Image Models (timm),
https://github.com/huggingface/pytorch-image-models
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import timm
import torch
import torch.nn.functional as F
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from tag2mask.errors import RecipeError, WeightsError
from tag2mask.nn.backbones.base import Features
from tag2mask.nn.fast_conv import fold_batch_norms

STRIDES = (8, 16, 32)
PROBE_SIZE = (96, 128)
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
        output_stride: 8, 16 or 32; at 8 and 16 late stages are dilated instead of strided, where
            timm supports that for the model.
        pcm_levels: strides of the two mid-level maps, finest first; None: the shallowest map at
            stride 8 and the deepest one at ``min(output_stride, 16)`` before the last map. Among
            several maps of one stride the finer level takes the shallowest, the coarser level the
            deepest.
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
        output_stride: int,
        pcm_levels: tuple[int, int] | None = None,
        pretrained: bool = False,
        truncated: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.truncated = truncated
        dilated_to = STRIDES[-1] if truncated else output_stride
        self.net: Any = create_timm(name, dilated_to, pretrained=pretrained)
        config = resolve_model_data_config(self.net)
        self.mean: tuple[float, float, float] = tuple(config["mean"])
        self.std: tuple[float, float, float] = tuple(config["std"])
        final, maps = _probe(name, self.net)
        self._layout = _layout(final, maps[-1], name)
        levels = [
            FeatureLevel(position, maps[position].shape[1], int(info["reduction"]))
            for position, info in enumerate(self.net.feature_info)
        ]
        last = _as_map(final, maps[-1], self._layout)
        if truncated:
            levels = [level for level in levels if level.stride <= output_stride] or levels
            last = maps[levels[-1].position]
        self.stride = levels[-1].stride
        if self.stride != output_stride:
            setting = f"Set it to {self.stride} or choose" if self.stride in STRIDES else "Choose"
            raise RecipeError(
                f"{name} gives output stride {self.stride} only, not {output_stride}",
                where="backbone.output_stride",
                fix=f"{setting} another backbone.",
            )
        if truncated and pcm_levels is None and len(levels) > 2:
            low, mid = levels[-3:-1]
        else:
            low, mid = _choose_levels(name, levels, last.shape[1], pcm_levels)
        self._levels = (low, mid)
        self._deepest = levels[-1].position
        self.mid_strides = (low.stride, mid.stride)
        self.channels = (low.channels, mid.channels, int(last.shape[1]))
        self.size_multiple = self.stride
        self._unused = _unused_parameters(self.net, last)
        fold_batch_norms(self.net, lambda: _outputs(*_probe(name, self.net)))

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
            last = _as_map(final, maps[-1], self._layout)
        by_position = dict(zip(wanted, maps, strict=True))
        low, mid = (F.relu(by_position[level.position]) for level in self._levels)
        return Features(low, mid, F.relu(last))

    def frozen(self) -> Iterator[nn.Parameter]:
        """Return the parameters that no map depends on (parts of the ImageNet head), if any.

        All other parameters of timm's models are trained; only ResNet-38 has frozen layers in the
        authors' code.
        """
        for name in self._unused:
            yield self.net.get_parameter(name)


def create_timm(
    name: str, output_stride: int, *, pretrained: bool, setting: str = "backbone"
) -> Any:
    """Build a timm model without its classifier, dilated if timm supports that.

    Args:
        name: timm's name.
        output_stride: 8, 16 or 32; a model that can't be dilated keeps its own stride.
        pretrained: whether timm downloads its weights.
        setting: recipe key of the network, for error messages.

    Raises:
        RecipeError: no such model.
        WeightsError: timm's weights can't be downloaded.
    """
    if not timm.is_model(name):
        raise RecipeError(
            f"no backbone {name!r}",
            where=f"{setting}.name",
            fix="Name 'resnet38' or a model that timm.list_models() lists.",
        )
    options: dict[str, Any] = {"num_classes": 0}
    if timm.get_pretrained_cfg_value(name, "fixed_input_size"):
        options |= {"dynamic_img_size": True}  # transformers: photos of any size
    attempts = [{**options, "output_stride": output_stride}, options, {"num_classes": 0}]
    for attempt in attempts:
        try:
            return timm.create_model(name, pretrained=pretrained, **attempt)
        except (TypeError, AssertionError, NotImplementedError):
            continue  # the builder lacks this option; the stride is checked afterwards
        except Exception as error:
            if not pretrained:
                raise
            # timm, its hub and their HTTP clients each raise exceptions of their own.
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise WeightsError(
                f"timm's weights of {name} can't be downloaded ({reason})",
                where=f"{setting}.weights",
                fix="Check the internet connection, or give a file of weights.",
            ) from None
    raise RecipeError(f"timm can't build {name}", where=f"{setting}.name", fix="Choose another.")


def _probe(name: str, net: Any) -> tuple[Tensor, list[Tensor]]:
    """Return the final features and the intermediate maps of a black image, in evaluation mode.

    The image is neither square nor of the model's default size: a model that fails on it can't
    read photos at several scales either.
    """
    if not hasattr(net, "forward_intermediates"):
        raise RecipeError(
            f"{name} gives no intermediate maps",
            where="backbone.name",
            fix="Choose a model of timm that has forward_intermediates, such as resnet50.",
        )
    training = net.training
    net.eval()
    try:
        with torch.enable_grad():
            final, maps = net.forward_intermediates(torch.zeros(1, 3, *PROBE_SIZE))
    # Models of a fixed input size fail with assertions, shape errors and others.
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise RecipeError(
            f"{name} can't read photos of any size ({reason})",
            where="backbone.name",
            fix="Choose a convolutional model, such as resnet50 or convnext_tiny.",
        ) from None
    finally:
        net.train(training)
    is_map = isinstance(final, Tensor) and all(
        isinstance(one, Tensor) and one.ndim == 4 for one in maps
    )
    if not is_map or not maps or len(maps) != len(net.feature_info):
        raise _not_a_map(name)
    return final, maps


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


Layout = Literal["nchw", "nhwc", "tokens"]


def _layout(final: Tensor, like: Tensor, name: str) -> Layout:
    """Return the memory layout of the final features, detected by their shape."""
    grid = like.shape[2:]
    if final.ndim == 4 and final.shape[2:] == grid:
        return "nchw"
    if final.ndim == 4 and final.shape[1:3] == grid:
        return "nhwc"
    if final.ndim == 3 and final.shape[1] >= grid.numel():
        return "tokens"
    raise _not_a_map(name)


def _as_map(final: Tensor, like: Tensor, layout: Layout) -> Tensor:
    """Return the final features as (b, c, h, w); ``like`` is the deepest map, of the same grid."""
    if layout == "nhwc":
        return final.permute(0, 3, 1, 2)
    if layout == "tokens":
        batch, _, height, width = like.shape
        tokens = final[:, -height * width :]  # class and register tokens come first
        return tokens.transpose(1, 2).reshape(batch, -1, height, width)
    return final


def _not_a_map(name: str) -> RecipeError:
    return RecipeError(
        f"the features of {name} aren't a map of the photo",
        where="backbone.name",
        fix="Choose a convolutional model, such as resnet50 or convnext_tiny.",
    )


def _unused_parameters(net: nn.Module, last: Tensor) -> list[str]:
    """Return the names of parameters without a gradient from ``last``; DDP would wait for them."""
    parameters = dict(net.named_parameters())
    with torch.enable_grad():
        gradients = torch.autograd.grad(last.sum(), list(parameters.values()), allow_unused=True)
    return [name for name, g in zip(parameters, gradients, strict=True) if g is None]
