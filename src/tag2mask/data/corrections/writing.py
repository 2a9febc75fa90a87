"""Write corrections: a decision is on the disk before it is confirmed."""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
from tag2mask.files.atomic import write_bytes
from tag2mask.files.digests import digest
from tag2mask.files.json_file import write_json
from tag2mask.files.links import check_no_linked_folders, open_itself
from tag2mask.files.lock import folder_lock
from tag2mask.files.os_errors import make_folder, readable_os_errors
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
        """Write a decision and its mask; both are on the disk when this returns.

        Args:
            decision: its time is set if it has none.
            mask: the mask that was drawn or accepted, uint8 (h, w) of mask ids; None: the photo's
                mask stays as it is.

        Returns:
            The decision as written.

        Raises:
            RunFolderError: the disk is full, or the folder can't be written; nothing is decided.
        """
        if mask is not None:
            return self._write_with(decision, encoded_mask(mask, self.classes))
        kept = self.corrections.masks_of([decision.photo]).get(decision.photo)
        return self._append(replace(decision, mask="" if kept is None else digest(kept)))

    def restore(self, decision: Decision, mask: bytes | None) -> Decision:
        """Write an earlier decision again, with the mask that `Corrections.mask_bytes` returned.

        Raises:
            RunFolderError: as `write`.
        """
        decision = replace(decision, time="")
        if mask is not None:
            return self._write_with(decision, mask)
        try:
            # Before the line: until that is written, the digest of the last decision finds its
            # mask among the earlier ones.
            self._keep_current(decision.photo)
            return self._append(replace(decision, mask=""))
        finally:
            self.settle(decision.photo)

    def _write_with(self, decision: Decision, mask: bytes) -> Decision:
        """Write a mask, the decision, and make the mask the current one, in this order.

        A decision has its own mask whenever the process is killed: the line has the mask's digest,
        and nothing is overwritten.
        """
        sha256 = hashlib.sha256(mask).hexdigest()
        write_bytes(self.corrections.earlier_file(decision.photo, sha256), mask)
        written = self._append(replace(decision, mask=sha256))
        self.settle(decision.photo)
        return written

    def settle(self, photo: str) -> None:
        """Make the mask of a photo's decision the current one, and the only copy of it."""
        current = self.corrections.mask_file(photo)
        with suppress(OSError, Tag2MaskError):  # it counts where it is, too
            mask = self.corrections.masks_of([photo]).get(photo, current)
            recorded = self.decisions[photo].mask
            if mask != current:
                self._keep_current(photo)
                make_folder(current.parent)
                mask.replace(current)
            elif recorded:
                copy = self.corrections.earlier_file(photo, recorded)
                # A copy would count instead of a current mask that is changed by hand later.
                if copy.is_file() and digest(current) == recorded:
                    copy.unlink()

    def _keep_current(self, photo: str) -> None:
        """Move the current mask of a photo to the earlier ones."""
        current = self.corrections.mask_file(photo)
        if current.is_file():
            earlier = self.corrections.earlier_file(photo, digest(current))
            make_folder(earlier.parent)
            with readable_os_errors(earlier):
                current.replace(earlier)

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
        RunFolderError: a link to another folder is inside, or it can't be written.
    """
    with folder_lock(folder):
        check_no_linked_folders(folder)
        check_same_classes(Corrections(folder, {}, recorded_classes(folder)), classes.names)
        decisions = read_decisions(folder / DECISIONS)
        if not (folder / CLASSES).is_file():
            write_json(folder / CLASSES, {"names": classes.names})
        _append(folder / DECISIONS, b"")
        writer = CorrectionsWriter(folder, classes, decisions)
        for photo in decisions:
            writer.settle(photo)
        yield writer


def encoded_mask(mask: NDArray[np.uint8], classes: ClassSet) -> bytes:
    """Return the palette PNG of a mask, uint8 (h, w) of mask ids."""
    content = io.BytesIO()
    image = palette_image(mask, classes.colors)
    image.save(content, format="PNG", compress_type=zlib.Z_RLE)  # as in `write_mask`
    return content.getvalue()


def _append(path: Path, line: bytes) -> None:
    """Append a line and wait until it is on the disk; if that fails, the file is as before."""
    with readable_os_errors(path), open_itself(path, "ab+", buffering=0) as file:
        file.seek(0)
        before = file.read()
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
