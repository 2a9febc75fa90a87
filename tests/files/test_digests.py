"""Digests follow the content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tag2mask.files.atomic import write_bytes
from tag2mask.files.digests import digest


def test_a_digest_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = digest(path)
    assert first == hashlib.sha256(b"one").hexdigest() == digest(path)
    write_bytes(path, b"two")
    assert digest(path) == hashlib.sha256(b"two").hexdigest()
