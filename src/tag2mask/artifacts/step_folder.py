"""Run folders: one step, one folder, one manifest; and files that are whole or absent.

Every step writes into a folder of its own through ``step_folder``. ``manifest.json`` is written
last and atomically, so a folder that has one is complete; until then ``started.json`` holds the
same identity, so a partial folder is only resumed by the step, recipe and inputs that began it.

What a folder was made from has two parts:

* **inputs** decide what every file in it says (the model that drew the maps). A change is refused,
  with the keys that differ;
* **coverage** decides which items it holds (the photos and their tags). A change makes a complete
  folder partial again: the step runs and redoes only the items whose own key changed, which the
  ``journal`` remembers.

Left out: any knowledge of what lies in a folder besides these files; the steps own that. Nothing
here imports torch, so that ``status`` and ``--help`` answer at once.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic

from pydantic import BaseModel

from tag2mask.artifacts.files import (
    make_folder,
    readable_os_errors,
    remove_temporary_files,
    write_json,
)
from tag2mask.artifacts.handles import Handle, HandleT, missing_files
from tag2mask.artifacts.identity import check_same_identity, holds_work, identity_of
from tag2mask.artifacts.journal import Journal
from tag2mask.artifacts.manifest import MANIFEST, STARTED, Identity, Manifest, read_identity
from tag2mask.errors import FolderInUseError, RunFolderError
from tag2mask.version import __version__

RANK_ZERO_SECONDS = 120.0
"""How long the other ranks wait for rank 0 to open a folder."""
_REPORTED_VERSIONS = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "pillow")


class Step(Generic[HandleT]):
    """A step folder at work; ``step_folder`` makes it.

    Attributes:
        handle: the folder's handle (its manifest can be read once complete).
        journal: the items whose files are written, and what each was made from.
        complete: True when the folder was complete on entry and nothing is left to do.
        resumed: True when an earlier, partial attempt left work to build on.
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

        On ranks above 0 it writes nothing; let all ranks meet before rank 0 calls it, and again
        before any rank reads the manifest.

        Args:
            counts: how many of what.
            metrics: what the step measured; JSON values.
            skipped: photos left out, each as ``id: reason``.
        """
        self.journal.close()
        self.finished = True
        if self._rank == 0:
            manifest = Manifest(
                **(self._identity.model_dump() | {"seconds": round(self._seconds(), 3)}),
                tag2mask=__version__,
                counts=dict(counts),
                metrics=dict(metrics),
                skipped=tuple(skipped),
                versions=_versions(),
            )
            remove_temporary_files(self.path)
            write_json(self.path / MANIFEST, manifest.model_dump(mode="json"))
            (self.path / STARTED).unlink(missing_ok=True)
        return self.handle

    def _seconds(self) -> float:
        return self._identity.seconds + time.monotonic() - self._begun

    def _interrupted(self) -> None:
        """Keep the time spent; the folder stays partial."""
        with suppress(OSError):  # a full disk has told already; closing writes the lost line again
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
) -> Iterator[Step[HandleT]]:
    """Open a step's folder for work: new, to be resumed, or complete.

    Any exception, Ctrl-C included, leaves a partial folder that the same call resumes.

    Args:
        kind: which step.
        out: the folder; made when missing.
        section: the step's settings; fields that the section's class lists in ``not_identity`` may
            change freely. Any JSON mapping will do, so a folder of one's own maps can be made too.
        inputs: handles of the folders read, or plain strings such as a fingerprint of files.
        coverage: handles or strings that decide which items there are. Of a handle, what its own
            folder was made from counts as input, and only the coverage it has is coverage here.
        rank: of this process; rank 0 alone writes ``started.json`` and the manifest.

    Raises:
        RunFolderError: the folder was made from something else (the keys that differ, old and new),
            holds other files, is in use by another process, or can't be written.
    """
    folder = Path(out)
    wanted = identity_of(kind, folder, section, inputs, coverage)
    found = read_identity(folder) if rank == 0 else _wait_for_rank_zero(folder, wanted)
    taken_over = found if rank == 0 and _only_begun(found, wanted, holds_work(folder)) else None
    if taken_over is not None:
        found = None
    elif found is not None:
        check_same_identity(kind, found, wanted, section, folder)
    elif rank == 0 and folder.exists():
        _check_not_foreign(folder, kind)
    complete = (
        isinstance(found, Manifest)
        and found.fingerprint == wanted.fingerprint
        and not missing_files(kind, folder)
    )
    make_folder(folder)
    if found is not None and not isinstance(found, Manifest):
        wanted = wanted.model_copy(update={"started": found.started, "seconds": found.seconds})
    with _locked(folder, wanted=rank == 0 and not complete) as locked:
        if taken_over is not None:
            if not locked:  # somebody may be at work there
                check_same_identity(kind, taken_over, wanted, section, folder)
            if not _only_begun(read_identity(folder), wanted, holds_work(folder)):
                raise _worked_meanwhile(folder)
        elif locked and read_identity(folder) != found:
            raise _worked_meanwhile(folder)
        if rank == 0 and not complete:
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
    """Its state is not the one that was looked at before the folder was held."""
    return FolderInUseError(
        "another process has worked in this folder meanwhile",
        where=folder,
        fix="Run the same command again.",
    )


def remove_step_folder(kind: type[Handle], path: Path | str) -> None:
    """Delete a step's folder, complete or partial, so that the step runs anew.

    Raises:
        RunFolderError: the folder is not of this step, or can't be deleted.
    """
    folder = Path(path)
    if not folder.exists():
        return
    found = read_identity(folder)
    if found is None:
        _check_not_foreign(folder, kind)
    elif found.step != kind.step:
        raise RunFolderError(
            f"this folder holds {found.step}, not {kind.step}; not deleted",
            where=folder,
            fix="Correct the path.",
        )
    with readable_os_errors(folder):
        # The manifest first: a deletion that is cut short must not leave a "complete" folder.
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder)


def _wait_for_rank_zero(folder: Path, wanted: Identity) -> Identity | None:
    """What rank 0 found or wrote: other ranks must not fill a folder that it may yet refuse."""
    deadline = time.monotonic() + RANK_ZERO_SECONDS
    work, found = holds_work(folder), read_identity(folder)
    while (
        found is None
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
    """Whether a folder was begun with other settings, and nothing made: nothing is lost with it.

    A rank other than 0 must look for ``work`` before it reads what it found.
    """
    return (
        found is not None
        and not isinstance(found, Manifest)
        and not work
        and found.step == wanted.step
        and found.identity != wanted.identity
    )


def _check_not_foreign(folder: Path, kind: type[Handle]) -> None:
    """Refuse a file, or a folder with files that no step wrote."""
    if not folder.is_dir():
        raise RunFolderError(
            "a file stands where the folder should be", where=folder, fix="Give another --out."
        )
    if any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise RunFolderError(
            f"the folder holds other files, but no {MANIFEST} of {kind.step}",
            where=folder,
            fix="Give another --out, or an empty folder.",
        )


def _versions() -> dict[str, str]:
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _REPORTED_VERSIONS:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


@contextmanager
def _locked(folder: Path, *, wanted: bool) -> Iterator[bool]:
    """Hold the folder against a second process; released by the system when this one dies.

    Yields whether it is held: not where there are no locks.
    """
    if not wanted or sys.platform == "win32":
        yield False
        return
    import fcntl

    with readable_os_errors(folder):
        lock = (folder / ".lock").open("w")
    with lock:
        held = True
        try:
            # Not flock: its lock would pass on to data loading processes and outlive a kill.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise FolderInUseError(
                "another process is working in this folder",
                where=folder,
                fix="Wait for it to end, or give another --out.",
            ) from None
        except OSError:
            held = False  # a file system without locks
        yield held
