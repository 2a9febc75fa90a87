"""Fixtures of the steps' tests."""

from pathlib import Path

import pytest
from scenes import OneRank, Scene, discs

from small_runs import prepared, write_photos
from tag2mask.artifacts.handles import PreparedData


@pytest.fixture
def data(tmp_path: Path) -> PreparedData:
    """The 12 small photos of `write_photos` in ``photos``, prepared."""
    return prepared(write_photos(tmp_path / "photos"), tmp_path / "prepare")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """8 training and 3 validation photos of several sizes, one untagged, one not masked."""
    return discs(tmp_path)


@pytest.fixture
def one_rank() -> OneRank:
    """A runtime of one process."""
    return OneRank()
