"""What all processes of a run must have in common, compared before they work together."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tag2mask import version
from tag2mask.errors import NodesError, counted, first_few

if TYPE_CHECKING:
    from tag2mask.runtime.session import Runtime

ABSENT = "(absent)"
_SHOWN = 3
"""Number of differences that a message names."""


def check_same(
    runtime: Runtime, values: Mapping[str, str], *, fix: str = "Install the same on every node."
) -> None:
    """Check that every process has the same values; a difference is an error on all of them.

    Args:
        runtime: the processes.
        values: texts by name, such as versions or settings.
        fix: what to do about a difference.

    Raises:
        NodesError: the first process that differs from rank 0, and the values of both.
    """
    if runtime.world_size == 1:
        return
    found = runtime.all_gather_object((socket.gethostname(), dict(values)))
    (first_host, first), *others = found
    for rank, (host, other) in enumerate(others, 1):
        names = [
            name
            for name in dict.fromkeys([*first, *other])
            if first.get(name, ABSENT) != other.get(name, ABSENT)
        ]
        if names:
            shown = first_few(
                [
                    f"{name} is {first.get(name, ABSENT)} on rank 0 (host {first_host}), "
                    f"{other.get(name, ABSENT)} on rank {rank} (host {host})"
                    for name in names
                ],
                _SHOWN,
            )
            count = counted(len(names), "difference", "differences")
            raise NodesError(f"the nodes differ ({count}): {shown}", fix=fix)


@cache
def installed_version() -> str:
    """Return the version and the start of the sha256 of all source files.

    Two checkouts or images may have the same number and different code.
    """
    root = Path(version.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return f"{version.__version__} (source {digest.hexdigest()[:8]})"
