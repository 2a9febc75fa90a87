"""Checks of a run on several machines: one recipe, one run folder that all see, the same photos.

On one process they do nothing.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask.artifacts.section_values import flat_values
from tag2mask.data.index import Sample, read_samples
from tag2mask.errors import NodesError, first_few
from tag2mask.files.atomic import write_text
from tag2mask.files.lock import is_read_only
from tag2mask.files.stamps import file_stamp
from tag2mask.recipe.schema import Recipe
from tag2mask.runtime.agreement import check_same

if TYPE_CHECKING:
    from tag2mask.runtime.session import Runtime

SHARED_SECONDS = 90.0
"""How long a new file may take to appear on the other machines; NFS keeps what it knows of a folder
for up to 60 s."""
COMPARED_PHOTOS = 1000
"""Number of photos whose sizes and times are compared."""


def check_same_work(
    runtime: Runtime, recipe: Recipe, options: Mapping[str, object] | None = None
) -> None:
    """Check that all processes have the same recipe and options.

    Raises:
        NodesError: naming the settings that differ, and both values.
    """
    settings = flat_values(recipe.model_dump(mode="json"))
    check_same(
        runtime,
        {name: str(value) for name, value in {**settings, **(options or {})}.items()},
        fix="Run the same command with the same recipe on every node.",
    )


def check_shared_folder(runtime: Runtime, folder: Path) -> None:
    """Check that all processes see the folder that they are going to write.

    The first one writes a file of a random name there, which is deleted at the end.

    Raises:
        NodesError: naming the processes that don't see it in time.
        RunFolderError: the folder can't be written.
    """
    if runtime.world_size == 1:
        return
    existed = folder.exists()
    name = f".shared-{secrets.token_hex(8)}"

    def write() -> str | None:
        if runtime.rank > 0 or is_read_only(folder):
            return None
        write_text(folder / name, name)
        return name

    token = runtime.gather_results(write)[0]
    if token is None:  # a finished run that is only read
        return
    try:
        sees = _appears(folder / token)
        seen = runtime.all_gather_object((socket.gethostname(), sees))
    finally:
        if runtime.rank == 0:
            (folder / name).unlink(missing_ok=True)
            if not existed:
                with suppress(OSError):
                    folder.rmdir()
    blind = [f"rank {rank} (host {host})" for rank, (host, sees) in enumerate(seen) if not sees]
    if blind:
        raise NodesError(
            f"{first_few(blind)} did not see within {SHARED_SECONDS:.0f} s what rank 0 (host "
            f"{seen[0][0]}) wrote into the folder of the run",
            where=folder,
            fix="Give an --out on a disk that all nodes share, under the same path on each.",
        )


def check_same_photos(runtime: Runtime, data: Path) -> None:
    """Check that all processes see the prepared photos, by sizes and times of some of them.

    Args:
        runtime: the processes.
        data: a ``prepare/`` folder.

    Raises:
        NodesError: naming the first photo that differs, and its stamp on both nodes.
    """
    if runtime.world_size == 1:
        return
    samples = read_samples(data)
    some = samples[:: max(1, len(samples) // COMPARED_PHOTOS)]
    check_same(
        runtime,
        {f"photo {str(sample.image)!r}": _current_stamp(sample) for sample in some},
        fix="Give a --data folder that all nodes share, or copies with the same times (`rsync -a`) "
        "under the same path.",
    )


def _appears(path: Path) -> bool:
    deadline = time.monotonic() + SHARED_SECONDS
    while not path.is_file():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _current_stamp(sample: Sample) -> str:
    try:
        return file_stamp(sample.image.stat())
    except OSError as error:
        return error.strerror or "unreadable"
