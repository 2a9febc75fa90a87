"""The loop over photos that the steps share: what is computed, what is kept, what is skipped.

Each photo has files in the step's folder, and a key that describes what they were made from. The
journal keeps the key of every photo whose files are complete. So an interrupted step resumes, and a
changed photo is computed again. Whether a finished folder still has all files is counted against
the list of photos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from tag2mask.artifacts.handles import PreparedData, PseudoMaskFolder
from tag2mask.artifacts.journal import replaced_items
from tag2mask.artifacts.manifest import Manifest
from tag2mask.artifacts.step_folder import Step
from tag2mask.data.index import read_samples
from tag2mask.data.masks import mask_path
from tag2mask.errors import DataError, ProblemsError, counted, or_skipped
from tag2mask.files.digests import file_digest
from tag2mask.maps.cam_map import map_path
from tag2mask.runtime.progress import ProgressBar
from tag2mask.runtime.ranks import OneProcess, Ranks, share_sub_folders

LARGE_PIXELS = 64_000_000
"""Photos with more pixels are read one at a time, as they take hundreds of MB each."""


class Identified(Protocol):
    """A photo, as the loop needs it."""

    @property
    def id(self) -> str:
        """The photo's id."""


PhotoT = TypeVar("PhotoT", bound=Identified)

Write = Callable[[Sequence[PhotoT], ProgressBar], Iterator[tuple[PhotoT, DataError | None]]]
"""Writes the files of photos; yields each photo, in any order, once its files are complete, or with
the reason why the photo can't be read."""


def is_large(size: tuple[int, int]) -> bool:
    """Return whether a photo of this size (h, w) must be read alone."""
    return size[0] * size[1] > LARGE_PIXELS


def map_files(folder: Path, photo_id: str) -> tuple[Path]:
    """Return the files of a photo in the folder of a step that makes maps."""
    return (map_path(folder, photo_id),)


def files_exist(files: Callable[[str], Sequence[Path]], ids: Iterable[str]) -> bool:
    """Return whether all files of all these photos exist."""
    return all(path.is_file() for photo_id in ids for path in files(photo_id))


def has_all_files(
    files: Callable[[str], Sequence[Path]], ids: Callable[[], Iterable[str]]
) -> Callable[[Manifest], bool]:
    """Return the check of a finished folder for ``step_folder``.

    Args:
        files: returns the files of a photo, by its id.
        ids: returns the ids of all photos that the step may have written.

    Returns:
        Whether as many photos have all their files as the manifest counts.
    """

    def check(manifest: Manifest) -> bool:
        written = sum(files_exist(files, [photo_id]) for photo_id in ids())
        return written >= manifest.counts.get("photos", 0)

    return check


def prepared_ids(data: PreparedData) -> set[str]:
    """Return the ids of all prepared photos."""
    return {sample.id for sample in read_samples(data.path)}


def check_masks_as_written(masks: PseudoMaskFolder, ranks: Ranks | None = None) -> None:
    """Check that nobody replaced masks in a folder, which would pass for those of its step.

    Args:
        masks: the folder.
        ranks: processes that share the masks; None: only this one.

    Raises:
        ProblemsError: naming the masks that are not the ones written.
    """
    ranks = ranks or OneProcess()
    found = ranks.gather_results(
        lambda: replaced_items(masks.path, partial(mask_path, masks.path), ranks.shard)
    )
    replaced = sorted(photo_id for own in found for photo_id in own)
    if replaced:
        count = counted(len(replaced), "mask was", "masks were")
        raise ProblemsError(
            f"{count} replaced after {masks.step} wrote them",
            replaced,
            where=masks.path,
            fix="If people drew them, move them to a folder of their own and take them in with "
            "`tag2mask masks import FOLDER --drawn` (--model NAME for those of another model). "
            f"Else delete them and run {masks.step} again: it makes the missing ones only.",
        )


class Written(NamedTuple):
    """What all ranks did.

    Attributes:
        computed: photos whose files were written.
        skipped: (id, reason) of unreadable photos, sorted.
    """

    computed: int
    skipped: list[tuple[str, str]]


@dataclass(frozen=True)
class PhotoOutputs(Generic[PhotoT]):
    """The files that a step writes for each photo.

    Attributes:
        step: the step's folder.
        files: returns the files of a photo, by its id.
        key: returns what a photo's files are made from, besides the step's settings and inputs.
        title: what the progress bar calls the work; empty: the step's name.
    """

    step: Step[Any]
    files: Callable[[str], Sequence[Path]]
    key: Callable[[PhotoT], str]
    title: str = ""

    def remove_missing(self, ids: set[str]) -> int:
        """Delete the files of photos that are not among these ids; return how many photos."""
        missing = len(set(self.step.journal.ids()) - ids)
        self.step.journal.drop_missing(ids, self.files)
        return missing

    def write(
        self, photos: Sequence[PhotoT], write: Write[PhotoT], ranks: Ranks, *, skip_bad: bool
    ) -> Written:
        """Write the files of all photos that are due, each rank its share.

        Args:
            photos: all photos of the step.
            write: computes and writes the files of photos.
            ranks: the processes that share the photos.
            skip_bad: whether unreadable photos are skipped; if not, the first one raises its error.

        Raises:
            DataError: a photo can't be read, and ``skip_bad`` is false.
        """
        # No rank may record a photo before all have read the journal.
        begun = not self.step.journal.is_empty()
        share_sub_folders(self.step.path, (photo.id for photo in photos), ranks, begun=begun)
        shares = ranks.gather_results(
            lambda: self._write_share(ranks.shard(photos), write, ranks, skip_bad)
        )
        return Written(
            sum(share.computed for share in shares),
            sorted(photo for share in shares for photo in share.skipped),
        )

    def _write_share(
        self, photos: Sequence[PhotoT], write: Write[PhotoT], ranks: Ranks, skip_bad: bool
    ) -> Written:
        # Keys are taken before the work: what changes meanwhile is noticed the next time.
        keys = {photo.id: self.key(photo) for photo in photos}
        journal = self.step.journal
        due = [
            photo
            for photo in photos
            if journal.key(photo.id) != keys[photo.id] or not files_exist(self.files, [photo.id])
        ]
        skipped = []
        with ranks.progress(len(due), self.title or self.step.handle.step) as bar:
            for photo, error in write(due, bar):
                if error is None:
                    journal.record(photo.id, keys[photo.id], file_digest(self.files(photo.id)[0]))
                elif not skip_bad:
                    raise or_skipped(error)
                else:
                    self._remove(photo.id)  # files of an older photo must not pass for this one's
                    skipped.append((photo.id, error.what))
                bar.advance()
        return Written(len(due) - len(skipped), skipped)

    def _remove(self, photo_id: str) -> None:
        self.step.journal.drop(photo_id)
        for path in self.files(photo_id):
            path.unlink(missing_ok=True)
