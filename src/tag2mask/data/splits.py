"""The names of the splits."""

from __future__ import annotations

from typing import Literal

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")
