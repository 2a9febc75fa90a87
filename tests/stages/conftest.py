"""Fixtures of the steps' tests."""

from pathlib import Path

import pytest
from scenes import OneRank, Scene, discs


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """8 training and 3 validation photos of several sizes, one untagged, one not masked."""
    return discs(tmp_path)


@pytest.fixture
def one_rank() -> OneRank:
    """A runtime of one process."""
    return OneRank()
