"""The state behind the page: photos in their order, decisions, and what is written of them."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tag2mask.data.corrections.decisions import VERDICTS, Decision, Verdict, decision_line
from tag2mask.data.corrections.writing import CorrectionsWriter
from tag2mask.data.masks import read_mask
from tag2mask.errors import DataError, Tag2MaskError, counted
from tag2mask.evaluation.random_looks import mask_looked_at
from tag2mask.review import pictures
from tag2mask.review.ask import queue, read_asked
from tag2mask.review.folder import ReviewFolder, ReviewPhoto
from tag2mask.review.order import gains
from tag2mask.text.escaping import visible

KEPT: Mapping[Verdict | None, str] = {"corrected": "drawn", "good": "accepted"}
"""Name of the mask in the corrections, beside those of the run, by the verdict about it."""
UNDOABLE = 100
"""Decisions that can be taken back, of all photos together."""
PAGE_SECONDS = 12.0
"""A page that hasn't called for so long is closed."""


class ConflictError(Tag2MaskError):
    """A decision about something that has changed meanwhile."""


class ReviewService:
    """Everything that the page asks for, safe for several threads.

    Args:
        folder: what is reviewed.
        writer: the open folder of corrections.
        reopen: opens the run again after it changed.

    Attributes:
        opened: set once a page has asked for the state.
    """

    def __init__(
        self,
        folder: ReviewFolder,
        writer: CorrectionsWriter,
        reopen: Callable[[], ReviewFolder],
    ) -> None:
        self.opened = Event()
        self._writer = writer
        self._reopen = reopen
        self._lock = Lock()
        self._pages: dict[str, float] = {}
        self._before: deque[tuple[Decision, bytes | None]] = deque(maxlen=UNDOABLE)
        self._generation = 0
        self._open(folder)

    def _open(self, folder: ReviewFolder) -> None:
        self.folder = folder
        self._asked = read_asked(folder.corrections)
        self._asked_for = {one.photo for one in self._asked}
        photos = {photo.id: photo for photo in reversed(folder.photos)}
        self.photos = [photos[photo] for photo in queue(folder, gains(folder), self._asked)]

    def state(self) -> dict[str, Any]:
        """Return everything that the page needs to begin."""
        self.opened.set()
        with self._lock:
            if self.folder.is_changed():
                self._open(self._reopen())
                self._generation += 1
            elif read_asked(self.folder.corrections) != self._asked:
                self._open(self.folder)  # in the order of the new list
                self._generation += 1
            return {
                "name": visible(self.folder.path.absolute().name),  # it may not be UTF-8
                "generation": self._generation,
                "classes": self.folder.classes.mask_names,
                "colors": self.folder.classes.colors,
                "photos": [self._row(photo) for photo in self.photos],
                "undoable": self._undoable(),
            }

    def _undoable(self) -> list[int]:
        """Return the places of the photos whose decisions `undo` takes back, the last one last."""
        places = {photo.id: place for place, photo in enumerate(self.photos)}
        return [places[before.photo] for before, _ in self._before if before.photo in places]

    def alive(self, page: str) -> dict[str, Any]:
        """Note that a page is open; return how many are, and whether the run changed."""
        now = time.monotonic()
        with self._lock:
            self._pages = {
                known: seen for known, seen in self._pages.items() if now - seen < PAGE_SECONDS
            }
            if page and len(self._pages) < 100:
                self._pages[page[:40]] = now
            return {
                "pages": len(self._pages),
                "changed": self.folder.is_changed(),
                "generation": self._generation,
            }

    def _row(self, photo: ReviewPhoto) -> dict[str, Any]:
        own = self._writer.decisions.get(photo.id, Decision(photo.id))
        tags = (set(photo.tags) - set(own.tags_removed)) | set(own.tags_added)
        names = [name for name in self.folder.masks if self.folder.mask_file(photo.id, name)]
        kept = KEPT.get(own.verdict)
        if kept and self._kept(photo.id, kept):
            names = [kept, *names]
        return {
            "id": photo.id,
            "split": photo.split,
            "tags": [name for name in self.folder.classes.names if name in tags],
            "verdict": own.verdict,
            "version": self._version(photo),
            "masks": names,
            "asked": photo.id in self._asked_for,
        }

    def _kept(self, photo: str, name: str) -> Path | None:
        """Return the file of a photo's mask in the corrections; None: none of this name counts."""
        own = self._writer.decisions.get(photo)
        if own is None or KEPT.get(own.verdict) != name:
            return None
        return self._writer.corrections.masks_of([photo]).get(photo)

    def photo(self, place: int) -> ReviewPhoto:
        """Return the photo at a place of the queue.

        Raises:
            DataError: there is none.
        """
        if not 0 <= place < len(self.photos):
            raise DataError(f"no photo {place}", fix="Reload the page.")
        return self.photos[place]

    def mask_file(self, place: int, name: str) -> Path | None:
        """Return the file of a photo's mask of a run, or of the drawn or accepted one."""
        photo = self.photo(place)
        return self._kept(photo.id, name) or self.folder.mask_file(photo.id, name)

    def mask(self, place: int, name: str) -> NDArray[np.uint8] | None:
        """Return a mask at the size of the page; None: there is none of this name."""
        path = self.mask_file(place, name)
        return None if path is None else pictures.mask_view(path, len(self.folder.classes))

    def decide(
        self, place: int, values: dict[str, Any], drawn: NDArray[np.uint8] | None
    ) -> dict[str, Any]:
        """Write a decision; it is on the disk when this returns.

        Args:
            place: of the photo in the queue.
            values: ``verdict``, ``tags``, ``mask`` (name of the mask that was shown), ``photo``
                (id), ``version`` and ``generation`` that the page knows; ``tags_only``: verdict and
                mask stay.
            drawn: the mask at the size of the page; None: nothing was drawn.

        Returns:
            The photo as in ``state``.

        Raises:
            ConflictError: another page decided meanwhile, or the run changed.
            DataError: impossible values.
            RunFolderError: it can't be written; nothing is decided.
        """
        with self._lock:
            photo = self.photo(place)
            self._check_current(photo, values)
            mask, decision = None, self._decision(photo, values)
            if values.get("tags_only"):
                before = self._writer.decisions.get(photo.id) or Decision(photo.id)
                decision = replace(decision, verdict=before.verdict, looked_at=before.looked_at)
            else:
                mask = self._mask_to_write(place, decision, str(values.get("mask", "")), drawn)
            before = self._writer.decisions.get(photo.id) or Decision(photo.id, origin="review")
            file = self._writer.corrections.mask_bytes(photo.id)
            self._writer.write(decision, mask)
            self._before.append((before, file))
            return self._row(photo)

    def undo(self, place: int, values: dict[str, Any]) -> dict[str, Any]:
        """Take the last decision about a photo back: the one before it and its mask are written.

        Args:
            place: of the photo in the queue.
            values: ``photo`` (id), ``version`` and ``generation`` that the page knows.

        Returns:
            The photo as in ``state``.

        Raises:
            ConflictError: another page decided meanwhile, the run changed, or it was too long ago.
            RunFolderError: it can't be written; nothing is taken back.
        """
        with self._lock:
            photo = self.photo(place)
            self._check_current(photo, values)
            entry = next((one for one in reversed(self._before) if one[0].photo == photo.id), None)
            if entry is None:
                raise ConflictError("that decision can't be taken back", fix="Decide again.")
            self._writer.restore(*entry)
            self._before.remove(entry)
            return self._row(photo)

    def _version(self, photo: ReviewPhoto) -> str:
        """Return what differs after each decision about a photo, whichever server wrote it."""
        own = self._writer.decisions.get(photo.id)
        return "" if own is None else hashlib.sha256(decision_line(own)).hexdigest()[:16]

    def _check_current(self, photo: ReviewPhoto, values: dict[str, Any]) -> None:
        # The page of an earlier server may have another order of the photos.
        known = values.get("photo") == photo.id and values.get("generation") == self._generation
        if not known or self.folder.is_changed():
            raise ConflictError("the run has changed", fix="Look at the masks again.")
        if values.get("version") != self._version(photo):
            raise ConflictError("this photo was decided meanwhile", fix="Look at it again.")

    def _decision(self, photo: ReviewPhoto, values: dict[str, Any]) -> Decision:
        verdict: Verdict | None = values.get("verdict")
        tags, known = values.get("tags"), set(self.folder.classes.names)
        if verdict is not None and verdict not in VERDICTS:
            raise DataError(f"no verdict {verdict!r}")
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise DataError("tags are a list of names")
        if unknown := set(tags) - known:
            raise DataError(f"no class {min(unknown)!r}")
        if verdict == "good" and values.get("mask") == KEPT["corrected"]:  # it stays a drawn mask
            verdict = "corrected"
        return Decision(
            photo.id,
            verdict,
            tuple(sorted(set(tags) - set(photo.tags))),
            tuple(sorted(set(photo.tags) - set(tags))),
            origin="review",
            looked_at=mask_looked_at(self.folder.first_masks, photo.id),
        )

    def _mask_to_write(
        self, place: int, decision: Decision, name: str, drawn: NDArray[np.uint8] | None
    ) -> NDArray[np.uint8] | None:
        """Return the full-size mask that a decision accepts or draws; None: no new one."""
        if decision.verdict not in ("good", "corrected"):
            return None
        path = self.mask_file(place, name)
        classes = len(self.folder.classes)
        full = None if path is None else read_mask(path, classes)
        if decision.verdict == "good" or drawn is None:
            if full is None:
                raise DataError(f"no mask {name!r} of this photo", fix="Reload the page.")
            return None if name in KEPT.values() else full
        photo = self.photo(place)
        size = pictures.photo_size(photo.image, photo.size)
        view = pictures.view_size(size)
        if drawn.shape != view:
            raise DataError(f"the mask has {drawn.shape} px, not {view}", fix="Reload the page.")
        if foreign := set(np.unique(drawn).tolist()) - {*range(classes + 1), 255}:
            raise DataError(f"the mask has the value {min(foreign)}")
        return pictures.sampled(drawn, size) if full is None else pictures.merged_edit(full, drawn)

    def overview(self) -> str:
        """Return how many photos are decided, as a line for the terminal."""
        with self._lock:
            done = sum(
                photo.id in self._writer.decisions
                and self._writer.decisions[photo.id].verdict is not None
                for photo in self.photos
            )
        return f"{counted(done, 'photo', 'photos')} of {len(self.photos)} decided"
