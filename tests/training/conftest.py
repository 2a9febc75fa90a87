"""Fixtures for tests of training."""

from __future__ import annotations

import pytest

from tag2mask.runtime.session import Runtime


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    """One process on the CPU."""
    return Runtime.start(device="cpu", workers=0, threads=1)
