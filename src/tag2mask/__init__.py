"""Weakly supervised semantic segmentation from image-level tags, by SEAM (CVPR 2020)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tag2mask.version import __version__

if TYPE_CHECKING:
    from tag2mask.api import Prediction, Predictor, load

__all__ = ["Prediction", "Predictor", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that importing the package is cheap."""
    if name in __all__:
        return getattr(import_module("tag2mask.api"), name)
    raise AttributeError(f"module 'tag2mask' has no attribute {name!r}")
