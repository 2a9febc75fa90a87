"""Checkpoints of a training: written atomically, read onto the CPU.

torch reads a checkpoint with changed bits without an error. So a checkpoint ends with the sha256 of
its content, as the comment of its zip archive.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from tag2mask.errors import WeightsError
from tag2mask.files.atomic import atomic_write
from tag2mask.nn.torch_file import read_torch_file
from tag2mask.nn.weights import load_into

CHECKPOINT = "checkpoint.pt"
"""File in a step's folder until the training is finished."""
_NO_COMMENT = (0).to_bytes(2, "little")
"""End of a zip archive without a comment: the comment's length."""
_HASH_BYTES = hashlib.sha256().digest_size
_FIX = "Delete it to start this step from the beginning."


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint to a temporary file and rename it, so that a kill leaves the previous one.

    Args:
        path: the file to replace.
        state: what ``torch.save`` can store.

    Raises:
        RunFolderError: full disk or no permission.
    """
    with atomic_write(path) as temporary:
        # Given a path instead of a file, torch would not report a full disk.
        with temporary.open("wb") as file:
            try:
                torch.save(state, file)
            except RuntimeError as error:
                # torch's writer fails an assertion of its own on interruption and on a full disk.
                if isinstance(error.__context__, (KeyboardInterrupt, OSError)):
                    raise error.__context__ from None
                raise
        _append_checksum(temporary)


def _append_checksum(path: Path) -> None:
    """Write the sha256 of a zip archive as its comment."""
    with path.open("r+b") as file:
        content = hashlib.file_digest(file, "sha256").digest()
        file.seek(-len(_NO_COMMENT), os.SEEK_END)
        file.write(_HASH_BYTES.to_bytes(2, "little") + content)


def _is_intact(path: Path) -> bool:
    """Return whether a file ends with the sha256 of its content."""
    found = hashlib.sha256()
    left = path.stat().st_size - _HASH_BYTES - len(_NO_COMMENT)
    with path.open("rb") as file:
        while left > 0 and (part := file.read(min(left, 1 << 20))):
            found.update(part)
            left -= len(part)
        found.update(_NO_COMMENT)
        return file.read() == _HASH_BYTES.to_bytes(2, "little") + found.digest()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint written by `save_checkpoint` onto the CPU.

    Raises:
        WeightsError: truncated, damaged, or not a checkpoint.
    """
    try:
        intact = _is_intact(path)
    except OSError as error:
        raise WeightsError(
            f"the checkpoint can't be read: {error.strerror}", where=path, fix=_FIX
        ) from error
    if not intact:
        raise WeightsError(
            "the checkpoint can't be read: it is damaged, cut off, or of an earlier version",
            where=path,
            fix=_FIX,
        )
    try:
        state = read_torch_file(path)
    except Exception as error:
        reason = error.what if isinstance(error, WeightsError) else type(error).__name__
        raise WeightsError(
            f"the checkpoint can't be read ({reason})",
            where=path,
            fix=_FIX,
        ) from error
    if not isinstance(state, dict):
        raise WeightsError(
            f"holds a {type(state).__name__} instead of a checkpoint",
            where=path,
            fix=_FIX,
        )
    return state


def restore_checkpoint(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    average: AveragedModel | None,
) -> int:
    """Load a checkpoint, if there is one, and return the next optimizer step.

    Args:
        path: the checkpoint; it may be missing.
        module: gets the weights.
        optimizer: gets its state.
        scaler: gets its state, if it is enabled.
        average: the moving average of the weights, which gets its state; None: no average.

    Returns:
        Number of optimizer steps done; 0 without a checkpoint.

    Raises:
        WeightsError: truncated, or of another network or training.
    """
    if not path.is_file():
        return 0
    state = load_checkpoint(path)
    try:
        load_into(module, state["model"], where=path)
        optimizer.load_state_dict(state["optimizer"])
        if scaler.is_enabled() and state["scaler"]:
            scaler.load_state_dict(state["scaler"])
        if average is not None:
            average.load_state_dict(state["average"])
        return int(state["step"])
    except WeightsError as error:
        raise WeightsError(f"the checkpoint holds {error.what}", where=path, fix=_FIX) from None
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise WeightsError(
            f"not a checkpoint of this training ({error})", where=path, fix=_FIX
        ) from None
