"""Files are complete or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tag2mask.files.atomic import atomic_write, write_bytes


def test_atomic_write_replaces_completely_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "map.npz"
    write_bytes(target, b"old")

    def fail() -> None:
        with atomic_write(target) as temporary:
            assert temporary.parent == target.parent
            assert temporary.suffix == ".npz"
            temporary.write_bytes(b"half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert target.read_bytes() == b"old"
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["map.npz"]
