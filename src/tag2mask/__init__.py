"""tag2mask: segmentation masks from image-level tags (SEAM, CVPR 2020, end to end)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tag2mask.version import __version__

if TYPE_CHECKING:
    from tag2mask.api import Prediction, Predictor, load

__all__ = ["Prediction", "Predictor", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import what is for users when it is first asked for: importing the package costs nothing."""
    if name in __all__:
        return getattr(import_module("tag2mask.api"), name)
    raise AttributeError(f"module 'tag2mask' has no attribute {name!r}")
