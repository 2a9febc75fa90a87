"""Write corrections: a decision is on the disk before it is confirmed."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tag2mask.artifacts.files import atomic_write, readable_os_errors, write_bytes, write_json
from tag2mask.artifacts.lock import folder_lock
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.check import check_same_classes
from tag2mask.data.corrections.decisions import (
    DECISIONS,
    Decision,
    complete_length,
    decision_line,
    read_decisions,
)
from tag2mask.data.corrections.folder import CLASSES, Corrections, recorded_classes
from tag2mask.errors import Tag2MaskError
from tag2mask.formats.pixels.palette_image import palette_image


class CorrectionsWriter:
    """A folder of corrections that is open for decisions; made by `open_corrections`.

    Args:
        folder: the folder, locked by this process.
        classes: the classes of the masks.
        decisions: the decisions that count, by photo id.
    """

    def __init__(self, folder: Path, classes: ClassSet, decisions: dict[str, Decision]) -> None:
        self.folder = folder
        self.classes = classes
        self.decisions = decisions

    @property
    def corrections(self) -> Corrections:
        """What the folder holds now."""
        return Corrections(self.folder, self.decisions, self.classes.names)

    def write(self, decision: Decision, mask: NDArray[np.uint8] | None = None) -> Decision:
        """Write a decision, and its mask before it; both are on the disk when this returns.

        Args:
            decision: its time is set if it has none.
            mask: the mask that was drawn or accepted, uint8 (h, w) of mask ids; None: the photo's
                file is left as it is.

        Returns:
            The decision as written.

        Raises:
            RunFolderError: the disk is full, or the folder can't be written; nothing is decided.
        """
        if mask is None:
            return self._append(decision)
        before = self.mask_bytes(decision.photo)
        write_correction_mask(self.corrections.mask_file(decision.photo), mask, self.classes)
        try:
            return self._append(decision)
        except Tag2MaskError:  # the earlier decision keeps its mask
            with suppress(Tag2MaskError):
                self._put(decision.photo, before)
            raise

    def restore(self, decision: Decision, mask: bytes | None) -> Decision:
        """Write an earlier decision again, with the file of its mask as `mask_bytes` returned it.

        Raises:
            RunFolderError: as `write`.
        """
        self._put(decision.photo, mask)
        return self._append(replace(decision, time=""))

    def mask_bytes(self, photo: str) -> bytes | None:
        """Return the content of a photo's mask file; None: it has none."""
        path = self.corrections.mask_file(photo)
        return path.read_bytes() if path.is_file() else None

    def _put(self, photo: str, mask: bytes | None) -> None:
        path = self.corrections.mask_file(photo)
        if mask is None:
            path.unlink(missing_ok=True)
        else:
            write_bytes(path, mask)

    def _append(self, decision: Decision) -> Decision:
        if not decision.time:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            decision = replace(decision, time=now)
        _append(self.folder / DECISIONS, decision_line(decision))
        self.decisions[decision.photo] = decision
        return decision


@contextmanager
def open_corrections(folder: Path, classes: ClassSet) -> Iterator[CorrectionsWriter]:
    """Open a folder of corrections for decisions; it is created unless it exists.

    Args:
        folder: the folder.
        classes: the classes of the masks.

    Raises:
        DataError: the folder has masks of other classes, or is damaged.
        FolderInUseError: another process writes there.
        RunFolderError: it can't be written.
    """
    with folder_lock(folder):
        check_same_classes(Corrections(folder, {}, recorded_classes(folder)), classes.names)
        decisions = read_decisions(folder / DECISIONS)
        if not (folder / CLASSES).is_file():
            write_json(folder / CLASSES, {"names": classes.names})
        _append(folder / DECISIONS, b"")
        yield CorrectionsWriter(folder, classes, decisions)


def write_correction_mask(path: Path, mask: NDArray[np.uint8], classes: ClassSet) -> None:
    """Write a mask as a palette PNG, atomically, and wait until it is on the disk.

    Raises:
        RunFolderError: the disk is full or the folder may not be written.
    """
    image = palette_image(mask, classes.colors)
    with atomic_write(path) as temporary:
        image.save(temporary, format="PNG", compress_type=zlib.Z_RLE)  # as in `write_mask`


def _append(path: Path, line: bytes) -> None:
    """Append a line and wait until it is on the disk; if that fails, the file is as before."""
    with readable_os_errors(path), path.open("ab+", buffering=0) as file:
        file.seek(0)
        before = file.readall()
        end = complete_length(before)
        if end < len(before):  # cut off by a kill
            file.truncate(end)
        elif before and not before.endswith(b"\n"):
            line = b"\n" + line
        try:
            while line:  # a disk that is nearly full takes a part of it
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise
