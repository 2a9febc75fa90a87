"""Files that ``torch.save`` wrote, read in memory that their size limits."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from tag2mask.errors import WeightsError

_ZIP_START = b"PK\3\4"
"""First bytes of the files that torch reads as zip archives."""


def read_torch_file(path: Path) -> Any:
    """Read a file of ``torch.save`` onto the CPU; code in it is refused, not run.

    ``torch.save`` compresses nothing. A compressed member could be a thousand times as large.

    Raises:
        WeightsError: an archive with compressed members, or with larger ones than the file.
        UnpicklingError: objects other than tensors, numbers, texts and collections of them.
        Exception: almost any of zipfile's and torch's own, where the file is damaged.
    """
    with path.open("rb") as file:
        is_archive = file.read(len(_ZIP_START)) == _ZIP_START
    if is_archive:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        compressed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
        if compressed or sum(member.file_size for member in members) > path.stat().st_size:
            what = "is compressed" if compressed else "claims to be larger than it is"
            raise WeightsError(
                f"the file {what}, unlike those of torch.save",
                where=path,
                fix="Save it again: torch.save(network.state_dict(), file).",
            )
    return torch.load(path, map_location="cpu", weights_only=True)
