"""Files of checkpoints: written atomically, and damaged ones are named."""

from __future__ import annotations

import errno
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tag2mask.errors import RunFolderError, WeightsError
from tag2mask.training.checkpoint import load_checkpoint, save_checkpoint


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    state = {"model": {"weight": torch.randn(3)}, "step": 4}
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})
    save_checkpoint(path, state)
    loaded = load_checkpoint(path)
    assert loaded["step"] == 4
    assert torch.equal(loaded["model"]["weight"], state["model"]["weight"])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_disk_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})
    with monkeypatch.context() as patch:
        full = os.open("/dev/full", os.O_RDWR)
        patch.setattr(Path, "open", lambda _, mode: os.fdopen(full, mode))
        with pytest.raises(RunFolderError, match="disk is full"):
            save_checkpoint(path, {"weights": torch.zeros(100_000)})
    assert load_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


class _FullDisk(io.BytesIO):
    """A file that accepts ``room`` bytes, and closes without an error as real ones do."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: Any) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@pytest.mark.parametrize("room", [0, 100, 5_000, 300_000])
def test_a_disk_that_fills_meanwhile_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda _path, _mode: _FullDisk(room))
        with pytest.raises(RunFolderError, match="disk is full"):
            save_checkpoint(path, {"weights": torch.zeros(100_000)})
    assert load_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a checkpoint" * 9])
def test_damaged_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"can't be read.*checkpoint\.pt.*Delete it"):
        load_checkpoint(path)


def test_an_interrupt_while_a_checkpoint_is_written_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "checkpoint.pt", {"step": 1})

    def interrupted(*_: Any) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("unexpected pos 6629568 vs 6629456")  # as torch's writer does

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(tmp_path / "checkpoint.pt", {"step": 2})
    assert load_checkpoint(tmp_path / "checkpoint.pt") == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_changed_bit_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"weights": torch.arange(1000.0), "step": 3})
    complete = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None and len(archive.comment) == 32
    for place in range(0, len(complete), 97):
        changed = bytearray(complete)
        changed[place] ^= 0x40
        path.write_bytes(changed)
        with pytest.raises(WeightsError, match="damaged, cut off, or of an earlier version"):
            load_checkpoint(path)
    path.write_bytes(complete)
    assert load_checkpoint(path)["step"] == 3
