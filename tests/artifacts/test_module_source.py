"""Sources of a user's own modules: found, read and compared without importing them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tag2mask.artifacts.module_source import source_digest, source_file
from tag2mask.errors import PartError

BOMB = "raise RuntimeError('imported')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def changes(folder: Path, name: str, **files: str) -> bool:
    """Return whether other contents of files change the digest of a module."""
    before = source_digest(name)
    write(folder, **files)
    return source_digest(name) != before


def test_the_digest_follows_own_modules_in_the_same_folder(folder: Path) -> None:
    write(folder, src_one=BOMB + "import src_two\nimport json\n", src_two="", src_other="")
    assert source_file("src_one") == folder / "src_one.py"
    assert not changes(folder, "src_one:Part", src_other="x = 1\n")
    assert changes(folder, "src_one:Part", src_two="x = 1\n")
    assert changes(folder, "src_one:Part", src_one=BOMB)
    assert not changes(folder, "src_one:Part", src_two="x = 2\n"), "no longer imported"
    assert "src_one" not in sys.modules


def test_the_digest_follows_modules_of_the_same_package(folder: Path) -> None:
    write(
        folder,
        src_lab__parts__first=BOMB + "from . import second\nfrom ..deep import shared\n",
        src_lab__parts__second="",
        src_lab__deep="",
        src_lab__unused="",
    )
    (folder / "src_lab" / "__init__.py").touch()
    (folder / "src_lab" / "parts" / "__init__.py").write_text(BOMB)
    name = "src_lab.parts.first:Part"
    assert not changes(folder, name, src_lab__unused="x = 1\n")
    assert changes(folder, name, src_lab__parts__second="x = 1\n")
    assert changes(folder, name, src_lab__deep="x = 1\n")
    before = source_digest(name)
    (folder / "src_lab" / "__init__.py").write_text("x = 1\n")
    assert source_digest(name) != before, "importing the module imports its package"
    assert not any(module.startswith("src_lab") for module in sys.modules)


def test_installed_modules_are_not_followed(folder: Path) -> None:
    installed = folder / "site-packages"
    write(installed, src_library="import src_helper\n", src_helper="")
    write(folder, src_user="import src_library\n")
    sys.path.append(str(installed))
    try:
        assert not changes(installed, "src_user:Part", src_library="x = 1\n")
        assert not changes(installed, "src_library:Part", src_helper="x = 1\n")
    finally:
        sys.path.remove(str(installed))


def test_a_missing_module_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PartError, match="no source of a module 'src_missing'"):
        source_digest("src_missing:Part")
    with pytest.raises(PartError, match=r"'src_missing\.inner'.*PYTHONPATH"):
        source_digest("src_missing.inner:Part")
    with pytest.raises(PartError, match="no source of a module 'math'"):
        source_digest("math:floor")
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    Path("src_here.py").touch()
    with pytest.raises(PartError, match=r"the current folder \(PYTHONPATH=\.\)"):
        source_digest("src_here:Part")


def test_a_module_that_is_no_python_has_a_digest(folder: Path) -> None:
    write(folder, src_broken="class :\n")
    assert changes(folder, "src_broken:Part", src_broken="import os\0\n")
