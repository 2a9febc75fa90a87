"""Fixtures for the tests of the steps."""

from pathlib import Path

import pytest
from export_scenes import write_run
from scenes import OneRank, Scene, discs

from small_runs import invoke, prepared, write_photos
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


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network was trained on 9 photos and evaluated."""
    root = tmp_path_factory.mktemp("run")
    write_run(root)
    return root


@pytest.fixture(scope="session")
def exported(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of `trained_run`, exported to all formats."""
    done = invoke("export", trained_run, "--out", tmp_path_factory.mktemp("exported") / "net")
    assert done.exit_code == 0, done.stderr
    assert "(2 files)" in done.stdout
    return Path(done.stdout.split("export: ")[1].split(" (")[0])
