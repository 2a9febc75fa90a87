"""Sizes of crops, views and photos that fit the patches of a backbone."""

from __future__ import annotations

from tag2mask.errors import RecipeError
from tag2mask.nn.backbones.base import Backbone
from tag2mask.nn.backbones.timm_backbone import TimmBackbone
from tag2mask.runtime.session import Runtime


def needed_multiple(backbone: Backbone) -> int:
    """Return what the sides of crops and views must be multiples of, px; 1: any size will do.

    Convolutions read any size. Patches that reach beyond the crop would be padded.
    """
    patched = isinstance(backbone, TimmBackbone) and backbone.patch > 1
    return backbone.size_multiple if patched else 1


def check_crop(crop: int, backbone: Backbone, key: str) -> None:
    """Check that a crop is no smaller than a patch; the arguments are those of `fitting_crop`.

    Raises:
        RecipeError: it is.
    """
    multiple = needed_multiple(backbone)
    if crop < multiple:
        raise RecipeError(
            f"a crop of {crop} px is smaller than a patch of the network, {multiple} px",
            where=key,
            fix=f"Set it to a multiple of {multiple}, such as {16 * multiple}.",
        )


def fitting_crop(crop: int, backbone: Backbone, key: str, runtime: Runtime) -> int:
    """Return the multiple of a backbone's patches nearest to a crop; print it if it differs.

    Args:
        crop: side of the crop, px.
        backbone: the network that reads the crops.
        key: recipe key of the crop.
        runtime: prints on its first rank.

    Raises:
        RecipeError: the crop is smaller than a patch.
    """
    check_crop(crop, backbone, key)
    multiple = needed_multiple(backbone)
    fitting = round(crop / multiple) * multiple
    if fitting != crop:
        runtime.note(f"{key}: crops of {fitting} px, not {crop}: multiples of {multiple} px")
    return fitting


def fitting_multiple(given: int, backbone: Backbone, key: str, runtime: Runtime) -> int:
    """Return the least multiple of a backbone's patches that is no smaller than ``given``.

    Args:
        given: what the sides of views are rounded to, px.
        backbone: the network that reads the views.
        key: recipe key of ``given``.
        runtime: prints a multiple that differs, on its first rank.
    """
    multiple = needed_multiple(backbone)
    fitting = -(-given // multiple) * multiple
    if fitting != given:
        runtime.note(f"{key}: {fitting} px, not {given}: multiples of {multiple} px")
    return fitting


def note_long_side(long_side: int | None, backbone: Backbone, key: str, runtime: Runtime) -> None:
    """Print to what the long side of photos is rounded, if it is.

    Args:
        long_side: of photos at scale 1, px; None: their own.
        backbone: the network that reads the photos.
        key: recipe key of the long side.
        runtime: prints on its first rank.
    """
    multiple = needed_multiple(backbone)
    if long_side is None or long_side % multiple == 0:
        return
    fitting = max(1, round(long_side / multiple)) * multiple
    runtime.note(f"{key}: {fitting} px, not {long_side}: multiples of {multiple} px")
