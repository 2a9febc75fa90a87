"""Shared fixtures: where the shared data lies, and small data made on the spot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _shared_folder(name: str, default: Path, *, required: bool) -> Path:
    folder = Path(os.environ.get(name, default))
    if folder.is_dir():
        return folder
    message = f"{name} names no folder: {folder}"
    if required:
        pytest.fail(message)
    pytest.skip(f"{message} (shared data is not part of the package)")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the shared data; skipped where a user lacks it, a failure in CI."""
    return _shared_folder("TAG2MASK_SHARED", ROOT.parent / "shared", required="CI" in os.environ)


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the authors' reference values; when TAG2MASK_REFERENCE is set, none may skip."""
    if "TAG2MASK_REFERENCE" in os.environ:
        return _shared_folder("TAG2MASK_REFERENCE", ROOT, required=True)
    shared_root = Path(os.environ.get("TAG2MASK_SHARED", ROOT.parent / "shared"))
    return _shared_folder(
        "TAG2MASK_REFERENCE", shared_root / "reference", required="CI" in os.environ
    )
