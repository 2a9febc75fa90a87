"""A folder of corrections as it is read: what counts for each photo."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tag2mask.artifacts.items import named_path
from tag2mask.classes import ClassSet, classes_in
from tag2mask.data.corrections.decisions import (
    DECISIONS,
    Decision,
    Verdict,
    decision_line,
    read_decisions,
)
from tag2mask.data.index import read_index
from tag2mask.errors import DataError, RunFolderError, Tag2MaskError
from tag2mask.files.atomic import write_bytes
from tag2mask.files.digests import digest
from tag2mask.files.json_file import read_json, write_json
from tag2mask.files.os_errors import make_folder, readable_os_errors
from tag2mask.files.regular_file import read_regular

CORRECTIONS = "corrections"
"""Name of the folder in a run, and of the copy in ``prepare/`` that the steps read."""
MASKS = "masks"
EARLIER = "earlier"
"""Folder of the masks that later decisions replaced, and of those that are being written."""
CLASSES = "classes.json"
ASKED = "asked.json"
"""The photos that a person is asked for, and the random samples of them."""


@dataclass(frozen=True)
class Corrections:
    """The decisions of a folder.

    Attributes:
        path: the folder.
        decisions: the decision that counts, by photo id.
        class_names: classes that the masks were made with; None: not recorded.
    """

    path: Path
    decisions: Mapping[str, Decision]
    class_names: tuple[str, ...] | None = None

    def mask_file(self, photo: str) -> Path:
        """Return where the mask of a photo belongs; see `masks_of` for the file that counts."""
        return named_path(self.path / MASKS, photo, ".png")

    def earlier_file(self, photo: str, sha256: str) -> Path:
        """Return where a mask of a photo is before it is the current one, and afterwards."""
        return named_path(self.path / EARLIER, f"{photo}/{sha256}", ".png")

    def ids(self, *verdicts: Verdict) -> list[str]:
        """Return the photos with one of these verdicts."""
        return [photo for photo, own in self.decisions.items() if own.verdict in verdicts]

    @property
    def sure(self) -> list[str]:
        """The photos whose masks were drawn or accepted."""
        return self.ids("corrected", "good")

    @property
    def bad(self) -> list[str]:
        """The photos that the segmentation network must not learn from."""
        return self.ids("bad")

    def masks(self) -> dict[str, Path]:
        """Return the files of the masks that were drawn or accepted, by photo.

        A photo may be accepted without a file: its mask is the one that the run makes.
        """
        return self.masks_of(self.sure)

    def masks_of(self, photos: Iterable[str]) -> dict[str, Path]:
        """Return the files of those photos that have a mask.

        Raises:
            RunFolderError: no permission to read one.
        """
        files = {photo: self._mask(photo) for photo in photos}
        return {photo: file for photo, file in files.items() if file is not None}

    def _mask(self, photo: str) -> Path | None:
        current = self.mask_file(photo)
        for file, sha256 in self._recorded(photo):
            with suppress(FileNotFoundError):
                if file.is_file() and digest(file) == sha256:
                    return file
        return current if current.is_file() else None

    def mask_bytes(self, photo: str) -> bytes | None:
        """Return the content of a photo's mask; None: it has none.

        It is that of the decision, even if another one is written at the same time.

        Raises:
            RunFolderError: a pipe or a device, or no permission to read it.
        """
        for file, sha256 in self._recorded(photo):
            content = _content(file)
            if content is not None and hashlib.sha256(content).hexdigest() == sha256:
                return content
        return _content(self.mask_file(photo))

    def _recorded(self, photo: str) -> Iterator[tuple[Path, str]]:
        """Yield the files that may be the recorded mask of a decision, and its sha256.

        A mask is written before the decision and is the current one after it, and the earlier one
        is kept. If no file is the recorded mask, the current one was changed by hand and counts.
        """
        own = self.decisions.get(photo)
        if own is not None and own.mask:
            current = self.mask_file(photo)
            # Twice, as a writer may move the mask there meanwhile.
            for file in (current, self.earlier_file(photo, own.mask), current):
                yield file, own.mask

    def counts(self, photos: Collection[str]) -> dict[str, int]:
        """Count the masks of some photos by how they came about, for a manifest."""
        own = [self.decisions[photo] for photo in photos if photo in self.decisions]
        corrected = [decision for decision in own if decision.verdict == "corrected"]
        imported = sum(decision.origin == "import" for decision in corrected)
        return {
            "drawn": len(corrected) - imported,
            "imported": imported,
            "accepted": sum(decision.verdict == "good" for decision in own),
        }

    def differing(self, other: Corrections) -> list[str]:
        """Return the photos of which both teach different things: masks, tags, or whether bad."""
        photos = dict.fromkeys((*self.decisions, *other.decisions))
        return [photo for photo in photos if self._taught(photo) != other._taught(photo)]

    def _taught(self, photo: str) -> str:
        own = self.decisions.get(photo, Decision(photo))
        label = self._label(photo) if own.verdict in ("good", "corrected", "bad") else ""
        return f"{label}\0{own.tags_added}\0{own.tags_removed}"

    def fingerprint(self) -> str:
        """Return the sha256 (hex) of decisions and masks; empty if there is no decision."""
        return _sha256(
            f"{self._label(photo)}\0{own.origin}\0{own.tags_added}\0{own.tags_removed}"
            for photo, own in sorted(self.decisions.items())
        )

    def label_fingerprint(self, photos: Container[str] | None = None) -> str:
        """Return the same of masks and bad photos alone.

        Args:
            photos: those that count; None: all.
        """
        labeled = sorted(self.ids("good", "corrected", "bad"))
        return _sha256(self._label(own) for own in labeled if photos is None or own in photos)

    def learned_fingerprint(self, prepared: Path) -> str:
        """Return the same of what the segmentation network learns from.

        Verdicts about validation photos teach nothing. Those about photos that the data doesn't
        have count, since an update may add them.

        Args:
            prepared: the folder ``prepare/``.
        """
        return self.label_fingerprint(set(self.decisions) - _validation_photos(prepared))

    def drawn_fingerprint(self, prepared: Path) -> str:
        """Return the same of what AffinityNet may learn from: masks alone.

        Args:
            prepared: the folder ``prepare/``.
        """
        return self.label_fingerprint(set(self.masks()) - _validation_photos(prepared))

    def _label(self, photo: str) -> str:
        verdict = self.decisions[photo].verdict
        sure = [photo] if verdict in ("good", "corrected") else []
        mask = self.masks_of(sure).get(photo)
        return f"{photo}\0{verdict}\0{'' if mask is None else digest(mask)}"


def _validation_photos(prepared: Path) -> set[str]:
    with suppress(RunFolderError):  # not prepared yet, or damaged, which `prepare` reports
        return {sample.id for sample in read_index(prepared, "val")}
    return set()


def _sha256(lines: Iterable[str]) -> str:
    """Return the sha256 (hex) of lines; empty if there is none."""
    content = "\n".join(lines)
    return hashlib.sha256(content.encode()).hexdigest() if content else ""


NO_CORRECTIONS = Corrections(Path(), {})


def read_corrections(folder: Path) -> Corrections:
    """Read a folder of corrections.

    Raises:
        DataError: no such folder, or its decisions or classes can't be read.
        RunFolderError: a pipe or a device, or no permission to read it.
    """
    if not folder.is_dir():
        raise DataError(
            "no such folder of corrections",
            where=folder,
            fix="Correct --corrections, or make it with `tag2mask review`.",
        )
    decisions = read_decisions(folder / DECISIONS)
    if not decisions and not (folder / DECISIONS).is_file():
        raise DataError(
            f"not a folder of corrections: it has no {DECISIONS}",
            where=folder,
            fix="Give the `corrections` folder of a run, or another --out of "
            "`masks import --drawn`.",
        )
    return Corrections(folder, decisions, recorded_classes(folder))


def corrections_of(prepared: Path) -> Corrections:
    """Return the corrections that a ``prepare/`` folder was made with.

    Raises:
        DataError: they are damaged.
    """
    folder = prepared / CORRECTIONS
    return read_corrections(folder) if folder.is_dir() else NO_CORRECTIONS


def copy_corrections(corrections: Corrections, folder: Path, classes: ClassSet) -> None:
    """Make a folder a copy of the decisions that count and their masks.

    After a kill it holds the decisions and masks from before, or all new ones: new masks are
    written beside those that count, then the decisions, which find their masks by digest.

    Raises:
        RunFolderError: the folder can't be written.
    """
    copy, decisions = Corrections(folder, {}), dict(corrections.decisions)
    for photo in corrections.sure:
        content = corrections.mask_bytes(photo)
        if content is not None:
            own = replace(decisions[photo], mask=hashlib.sha256(content).hexdigest())
            write_bytes(copy.earlier_file(photo, own.mask), content, durable=False)
            decisions[photo] = own
    write_json(folder / CLASSES, {"names": classes.names})
    write_bytes(folder / DECISIONS, b"".join(map(decision_line, decisions.values())))
    current = set()
    for photo in corrections.sure:
        new = copy.earlier_file(photo, decisions[photo].mask)
        if new.is_file():
            make_folder(copy.mask_file(photo).parent)
            current.add(new.replace(copy.mask_file(photo)))
    for stale in set((folder / MASKS).rglob("*.png")) - current:
        stale.unlink(missing_ok=True)
    shutil.rmtree(folder / EARLIER, ignore_errors=True)


def _content(file: Path) -> bytes | None:
    with readable_os_errors(file), suppress(FileNotFoundError, IsADirectoryError):
        return read_regular(file)
    return None


def recorded_classes(folder: Path) -> tuple[str, ...] | None:
    """Return the classes that a folder's masks were made with; None: not recorded.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / CLASSES
    if not path.is_file():
        return None
    try:
        return classes_in(read_json(path)).names
    except (ValueError, Tag2MaskError):
        raise DataError(
            f"{CLASSES} is damaged",
            where=folder,
            fix='Write the class names in their order: {"names": ["cat", "dog"]}, or delete it.',
        ) from None
