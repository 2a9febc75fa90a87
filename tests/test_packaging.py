"""Wheel and sdist build, hold what a user needs, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tag2mask.version import __version__

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "tag2mask"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an sdist made from the checkout and a wheel made from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    # Without isolation: the network isn't what is tested here.
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def package_files() -> set[str]:
    """Everything in the package's source that isn't a leftover."""
    return {
        path.relative_to(SOURCE.parent).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_whole_package(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    info = f"tag2mask-{__version__}.dist-info/"
    assert {name for name in names if not name.startswith(info)} == package_files()
    assert "tag2mask/py.typed" in names
    assert {
        "tag2mask/recipe/recipes/lite0-cpu.yaml",
        "tag2mask/recipe/recipes/tiny.yaml",
        "tag2mask/ablation/tables/paper.yaml",
    } <= names
    assert any(name.startswith("tag2mask/report/templates/") for name in names)
    assert info + "licenses/LICENSE" in names


def test_the_sdist_can_be_tested_and_read(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {f"src/{name}" for name in package_files()} <= names
    assert {
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "pyproject.toml",
        "docs/index.md",
        "tests/conftest.py",
    } <= names
    # Photos of experiments, runs and environments stay at home.
    assert not [name for name in names if name.startswith((".venv", "runs", "dist"))]
    arrays = {name for name in names if name.endswith((".pth", ".safetensors", ".npz"))}
    assert {name.rpartition("/")[0] for name in arrays} == {"tests/reference/data"}


def test_the_wheel_works_once_installed(built: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            "--disable-pip-version-check",
            "--target",
            str(site),
            str(next(built.glob("*.whl"))),
        ],
        check=True,
    )
    environment = os.environ | {"PYTHONPATH": str(site)}
    check = (
        "import sys, tag2mask\n"
        "from tag2mask.recipe.loading import load_recipe, shipped_recipes\n"
        "from tag2mask.report.page import Page, render\n"
        "assert tag2mask.__file__.startswith(sys.argv[1]), tag2mask.__file__\n"
        "print(len([load_recipe(name) for name in shipped_recipes()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check, str(site)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(list((SOURCE / "recipe" / "recipes").glob("*.yaml")))
    version = subprocess.run(
        [str(site / "bin" / "tag2mask"), "--version"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert version.stdout.strip() == f"tag2mask {__version__}"
