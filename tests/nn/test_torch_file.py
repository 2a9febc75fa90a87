"""Archives that unpack to more than their size are refused before they are read."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from tag2mask.errors import WeightsError
from tag2mask.nn.torch_file import read_torch_file
from tag2mask.nn.weights import load_state
from tag2mask.training.checkpoint import _append_checksum, load_checkpoint


def write(path: Path) -> Path:
    torch.save({"a": torch.zeros(100_000)}, path)
    return path


def pack(path: Path, kind: int, one: str = "/") -> None:
    """Write an archive again, with the members of some names compressed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content, kind if one in name else zipfile.ZIP_STORED)


@pytest.mark.parametrize("one", ["/", "data/0"])
def test_compressed_archives(tmp_path: Path, one: str) -> None:
    path = write(tmp_path / "net.pth")
    pack(path, zipfile.ZIP_STORED)
    assert load_state(path)["a"].shape == (100_000,)
    pack(path, zipfile.ZIP_DEFLATED, one)
    with pytest.raises(WeightsError, match=r"is compressed.*net\.pth.*torch\.save\(network"):
        load_state(path)
    _append_checksum(path)
    with pytest.raises(WeightsError, match=r"checkpoint can't be read \(the file is compressed"):
        load_checkpoint(path)


def test_archives_that_claim_more_than_they_have(tmp_path: Path) -> None:
    path = write(tmp_path / "net.pth")
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\1\2", 0, content.rindex(b"/data/0"))
    content[entry + 20 : entry + 28] = (10**9).to_bytes(4, "little") * 2
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="claims to be larger than it is"):
        read_torch_file(path)
