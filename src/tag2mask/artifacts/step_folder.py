"""Work on a step's folder: new, resumed or complete, never mixed from different inputs.

Every step writes into its own folder through ``step_folder``. ``manifest.json`` is written last and
atomically, so a folder that has one is complete. Until then ``started.json`` holds the same
identity, so a partial folder is resumed only with the step, recipe and inputs that began it.

What a folder was made from has two parts:

* **inputs** decide the content of every file (such as the model that computed the maps). A change
  is an error that names the keys that differ;
* **coverage** decides which items there are (the photos and their tags). A change makes a complete
  folder partial again: the step redoes only the items whose own key changed, as recorded in the
  ``journal``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic

from pydantic import BaseModel

from tag2mask.artifacts.checksums import model_checksums
from tag2mask.artifacts.deletion import check_not_foreign, remove_step_folder
from tag2mask.artifacts.handles import Handle, HandleT, missing_files
from tag2mask.artifacts.identity import (
    DELETED,
    check_same_identity,
    holds_work,
    identity_of,
    is_being_deleted,
)
from tag2mask.artifacts.journal import Journal
from tag2mask.artifacts.manifest import (
    MANIFEST,
    STARTED,
    Identity,
    Manifest,
    read_identity,
    recorded_metrics,
)
from tag2mask.artifacts.redo import delete_kept, put_back_moved
from tag2mask.errors import FolderInUseError, RunFolderError
from tag2mask.files.atomic import remove_temporary_files
from tag2mask.files.json_file import write_json
from tag2mask.files.links import check_no_linked_folders
from tag2mask.files.lock import folder_lock
from tag2mask.files.os_errors import readable_os_errors
from tag2mask.version import __version__

RANK_ZERO_SECONDS = 3600.0
"""How long the other ranks wait for rank 0 to open a folder, in which it may look for millions of
files; if it dies, they end at once."""
_REPORTED_VERSIONS = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "pillow")


class Step(Generic[HandleT]):
    """A step folder that is open for work; ``step_folder`` returns it.

    Attributes:
        handle: the folder's handle (its manifest can be read once complete).
        journal: the items that are written, and what each was made from.
        complete: whether the folder was complete on entry and nothing is left to do.
        resumed: whether an earlier attempt left a partial folder.
    """

    def __init__(
        self, handle: HandleT, identity: Identity, *, complete: bool, resumed: bool, rank: int
    ) -> None:
        self.handle = handle
        self.journal = Journal(handle.path, rank)
        self.complete = complete
        self.resumed = resumed
        self.finished = False
        self._identity = identity
        self._rank = rank
        self._begun = time.monotonic()

    @property
    def path(self) -> Path:
        """The folder."""
        return self.handle.path

    def finish(
        self,
        *,
        counts: Mapping[str, int] = MappingProxyType({}),
        metrics: Mapping[str, Any] = MappingProxyType({}),
        skipped: Sequence[str] = (),
    ) -> HandleT:
        """Write the manifest: from now on the folder is complete.

        Ranks above 0 write nothing; put a barrier before rank 0 calls it, and another before any
        rank reads the manifest.

        Args:
            counts: numbers of items, by name.
            metrics: what the step measured; JSON values, those in `ReadMetrics` of its types.
            skipped: skipped photos, each as ``id: reason``.

        Raises:
            RunFolderError: a metric is of another type; the folder stays partial.
        """
        recorded = recorded_metrics(metrics, self.path)
        self.journal.close()
        self.finished = True
        if self._rank == 0:
            remove_temporary_files(self.path)  # before the files are listed
            delete_kept(self.path)
            manifest = Manifest(
                **(self._identity.model_dump() | {"seconds": round(self._seconds(), 3)}),
                tag2mask=__version__,
                counts=dict(counts),
                metrics=recorded,
                skipped=tuple(skipped),
                files=model_checksums(self.path),
                versions=_versions(),
            )
            write_json(self.path / MANIFEST, manifest.model_dump(mode="json"))
            (self.path / STARTED).unlink(missing_ok=True)
        return self.handle

    def _seconds(self) -> float:
        return self._identity.seconds + time.monotonic() - self._begun

    def _interrupted(self) -> None:
        """Record the time spent; the folder stays partial."""
        with suppress(OSError):  # a full disk was reported already; closing writes the line again
            self.journal.close()
        if self._rank == 0 and not self.complete and not self.finished:
            identity = self._identity.model_copy(update={"seconds": round(self._seconds(), 3)})
            with suppress(RunFolderError):
                write_json(self.path / STARTED, identity.model_dump(mode="json"))


@contextmanager
def step_folder(
    kind: type[HandleT],
    out: Path | str,
    *,
    section: BaseModel | Mapping[str, Any],
    inputs: Mapping[str, Handle | str] = MappingProxyType({}),
    coverage: Mapping[str, Handle | str] = MappingProxyType({}),
    rank: int = 0,
    has_all: Callable[[Manifest], bool] = lambda _: True,
) -> Iterator[Step[HandleT]]:
    """Open a step's folder for work: a new, partial or complete one.

    Any exception, Ctrl-C included, leaves a partial folder that the same call resumes.

    Args:
        kind: which step.
        out: the folder; created when missing.
        section: the step's settings; fields that the section's class lists in ``not_identity`` may
            change freely. Any JSON mapping is accepted, for folders of your own maps.
        inputs: handles of the folders read, or plain strings such as a fingerprint of files.
        coverage: handles or strings that decide which items there are. A handle's own identity
            counts as an input; only its coverage is coverage here.
        rank: of this process; only rank 0 writes ``started.json`` and the manifest.
        has_all: returns whether a folder with this manifest still has all its files; if not, it is
            opened as a partial one.

    Raises:
        RunFolderError: the folder was made from something else (the keys that differ, old and new),
            holds other files or a link to another folder, is in use by another process, or can't be
            written.
    """
    folder = Path(out)
    wanted = identity_of(kind, folder, section, inputs, coverage)
    if rank == 0:
        put_back_moved(folder)
        if is_being_deleted(folder):
            remove_step_folder(kind, folder)
    found = read_identity(folder) if rank == 0 else _wait_for_rank_zero(folder, wanted)
    taken_over = found if rank == 0 and _only_begun(found, wanted, holds_work(folder)) else None
    if taken_over is not None:
        found = None
    elif found is not None:
        check_same_identity(kind, found, wanted, section, folder)
    elif rank == 0 and folder.exists():
        check_not_foreign(folder, kind)
    complete = (
        isinstance(found, Manifest)
        and found.fingerprint == wanted.fingerprint
        and not missing_files(kind, folder)
        and has_all(found)
    )
    if not complete:
        check_no_linked_folders(folder)
    if found is not None and not isinstance(found, Manifest):
        wanted = wanted.model_copy(update={"started": found.started, "seconds": found.seconds})
    writes = rank == 0 and not complete
    with folder_lock(folder) if writes else nullcontext(False) as locked:
        if taken_over is not None:
            if not locked:  # another process may be working there
                check_same_identity(kind, taken_over, wanted, section, folder)
            if not _only_begun(read_identity(folder), wanted, holds_work(folder)):
                raise _worked_meanwhile(folder)
        elif locked and read_identity(folder) != found:
            raise _worked_meanwhile(folder)
        if writes:
            write_json(folder / STARTED, wanted.model_dump(mode="json"))
            (folder / MANIFEST).unlink(missing_ok=True)
        step = Step(kind(folder), wanted, complete=complete, resumed=found is not None, rank=rank)
        try:
            with readable_os_errors(folder, only_inside=True):
                yield step
        finally:
            step._interrupted()
    assert step.complete or step.finished, f"{kind.step} neither finished nor raised"


def _worked_meanwhile(folder: Path) -> FolderInUseError:
    """Return the error for a folder that changed before it was locked."""
    return FolderInUseError(
        "another process has worked in this folder meanwhile",
        where=folder,
        fix="Run the same command again.",
    )


def _wait_for_rank_zero(folder: Path, wanted: Identity) -> Identity | None:
    """Return what rank 0 found or wrote; other ranks must not write before it accepted a folder."""
    deadline = time.monotonic() + RANK_ZERO_SECONDS
    work, found = holds_work(folder), read_identity(folder)
    while (
        found is None
        or found.identity == DELETED
        or _only_begun(found, wanted, work)
        or (found.identity == wanted.identity and found.fingerprint != wanted.fingerprint)
    ):
        if time.monotonic() > deadline:
            raise RunFolderError(
                "the first process did not open this folder",
                where=folder,
                fix="Its own message says why.",
            )
        time.sleep(0.05)
        work, found = holds_work(folder), read_identity(folder)
    return found


def _only_begun(found: Identity | None, wanted: Identity, work: bool) -> bool:
    """Return whether a folder was begun with other settings and holds no work that could be lost.

    Ranks above 0 must check for ``work`` before they read ``found``.
    """
    return (
        found is not None
        and not isinstance(found, Manifest)
        and not work
        and found.step == wanted.step
        and found.identity != wanted.identity
    )


def _versions() -> dict[str, str]:
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _REPORTED_VERSIONS:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
