"""Shared by all tests: reference data, no deadlines, fixed random numbers, threads."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

from photo_server import PhotoServer, serving
from tag2mask.data.remote import storage

ROOT = Path(__file__).resolve().parents[1]
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores: one thread each, here and in the commands that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
# A machine with more to do is not a reason to fail, and the same code passes or fails each time;
# `--hypothesis-profile=default` looks for new examples.
settings.register_profile(
    "unhurried", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    """Numbers that a test draws without a seed are the same each time, whatever ran before."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small only wait for each other's threads on a machine with more to do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
    """Folder of the authors' reference values: ours, or the complete ones of TAG2MASK_REFERENCE."""
    return _shared_folder("TAG2MASK_REFERENCE", ROOT / "tests/reference/data", required=True)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PhotoServer]:
    """A local web server of photos, and short time limits of storages."""
    monkeypatch.setattr(storage, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(storage, "STALL_SECONDS", 0.4)
    storage._storage.cache_clear()
    with serving() as served:
        yield served
    storage._storage.cache_clear()
