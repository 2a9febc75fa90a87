"""Sizes of training crops and views that fit the patches of a backbone."""

from __future__ import annotations

from tag2mask.nn.backbones.base import Backbone
from tag2mask.nn.backbones.timm_backbone import TimmBackbone
from tag2mask.runtime.session import Runtime


def needed_multiple(backbone: Backbone) -> int:
    """Return what the sides of crops and views must be multiples of, px; 1: any size will do.

    Convolutions read any size. Patches that reach beyond the crop would be padded.
    """
    patched = isinstance(backbone, TimmBackbone) and backbone.patch > 1
    return backbone.size_multiple if patched else 1


def fitting_crop(crop: int, backbone: Backbone, key: str, runtime: Runtime) -> int:
    """Return the multiple of a backbone's patches nearest to a crop; print it if it differs.

    Args:
        crop: side of the crop, px.
        backbone: the network that reads the crops.
        key: recipe key of the crop.
        runtime: prints on its first rank.
    """
    multiple = needed_multiple(backbone)
    fitting = max(1, round(crop / multiple)) * multiple
    if fitting != crop:
        runtime.note(f"{key}: crops of {fitting} px, not {crop}: multiples of {multiple} px")
    return fitting


def fitting_multiple(given: int, backbone: Backbone) -> int:
    """Return the least multiple of a backbone's patches that is no smaller than ``given``."""
    multiple = needed_multiple(backbone)
    return -(-given // multiple) * multiple
