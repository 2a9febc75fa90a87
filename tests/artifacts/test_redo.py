"""A repeated step: the earlier result is kept until the new one has begun."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tag2mask.artifacts import redo
from tag2mask.artifacts.handles import CamMaps, CamModel, PreparedData, WalkedMaps
from tag2mask.artifacts.manifest import read_identity
from tag2mask.artifacts.redo import redone_folder, redone_steps
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.errors import FolderInUseError, RunFolderError
from tag2mask.recipe.training import TrainCam

pytestmark = pytest.mark.smoke


def train(out: Path, epochs: int = 1, *, text: str = "", work: bool = True) -> None:
    """Write a step's folder; fail where the text is empty, with or without work."""
    with step_folder(CamModel, out, section=TrainCam(epochs=epochs)) as step:
        assert not step.complete and not step.resumed
        if work:
            (step.path / "losses").mkdir(exist_ok=True)
            (step.path / "losses" / "first.csv").write_text(text)
        if not text:
            raise RunFolderError("no luck")
        (step.path / "model.safetensors").write_text(text)
        step.finish()


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    train(tmp_path / "train-cam", text="first")
    return tmp_path / "train-cam"


def test_a_step_that_succeeds_replaces_the_earlier_result(out: Path) -> None:
    with redone_folder(CamModel, out):
        assert read_identity(out) is None
        train(out, 2, text="second")
    assert contents(out).keys() == {"manifest.json", "model.safetensors", "losses/first.csv"}
    assert (out / "model.safetensors").read_text() == "second"
    assert CamModel.open(out).manifest.section["epochs"] == 2


def test_a_step_that_fails_before_it_begins_keeps_it(out: Path) -> None:
    before = contents(out)
    with pytest.raises(RunFolderError, match="no luck"), redone_folder(CamModel, out):
        train(out, 2, work=False)
    assert contents(out) == before
    with pytest.raises(KeyboardInterrupt), redone_folder(CamModel, out):
        raise KeyboardInterrupt  # before the step opens its folder
    assert contents(out) == before


def test_a_partial_result_is_kept_too(tmp_path: Path) -> None:
    out = tmp_path / "train-cam"
    with pytest.raises(RunFolderError):
        train(out)
    before = contents(out)
    with pytest.raises(RunFolderError), redone_folder(CamModel, out):
        train(out, 2, work=False)
    assert contents(out) == before and "started.json" in before


def test_work_that_can_be_resumed_replaces_it(out: Path) -> None:
    with pytest.raises(RunFolderError), redone_folder(CamModel, out):
        train(out, 2)
    assert contents(out).keys() == {"started.json", "losses/first.csv"}
    with step_folder(CamModel, out, section=TrainCam(epochs=2)) as step:
        assert step.resumed
        (step.path / "model.safetensors").touch()
        step.finish()


@pytest.mark.parametrize("begun", [True, False])
def test_the_first_of_several_steps_decides_for_all(out: Path, begun: bool) -> None:
    """Later results were made from its earlier one: without it they are of no use."""
    maps, gone = out.parent / "infer-cam", out.parent / "walk"
    with step_folder(CamMaps, maps, section={}, inputs={"model": CamModel(out)}) as step:
        (maps / "maps").mkdir()
        step.finish()
    before = contents(out.parent)
    folders = [(CamModel, out), (CamMaps, maps), (WalkedMaps, gone)]
    with pytest.raises(RunFolderError, match="no luck"), redone_steps(folders):
        assert read_identity(maps) is None
        train(out, 2, work=begun)
    if begun:
        found = contents(out.parent).keys()
        assert found == {"train-cam/started.json", "train-cam/losses/first.csv"}
        assert not maps.exists()
    else:
        assert contents(out.parent) == before and CamMaps.open(maps)
    assert not gone.exists()


def test_nothing_is_moved_while_a_later_step_is_at_work(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = out.parent / "infer-cam"
    maps.mkdir()
    before = contents(out.parent)
    taken = redo.folder_lock

    def lock(folder: Path, **options: bool) -> AbstractContextManager[bool]:
        if folder == maps:
            raise FolderInUseError("another process is working in this folder")
        return taken(folder, **options)

    monkeypatch.setattr(redo, "folder_lock", lock)
    with pytest.raises(FolderInUseError), redone_steps([(CamModel, out), (CamMaps, maps)]):
        pass
    assert contents(out.parent) == before


def test_an_empty_or_missing_folder_is_no_obstacle(tmp_path: Path) -> None:
    for name in ("missing", "empty"):
        out = tmp_path / name
        if name == "empty":
            out.mkdir()
        with redone_folder(CamModel, out):
            train(out, text="first")
        assert (out / "model.safetensors").read_text() == "first"


def test_other_folders_are_not_touched(out: Path, tmp_path: Path) -> None:
    before = contents(tmp_path)
    with pytest.raises(RunFolderError, match="holds train-cam, not prepare; not deleted"):
        redone_folder(PreparedData, out).__enter__()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.tex").write_text("\\end")
    with pytest.raises(RunFolderError, match="holds other files"):
        redone_folder(CamMaps, tmp_path / "own").__enter__()
    assert contents(tmp_path) == before | {"own/thesis.tex": "\\end"}


@pytest.mark.parametrize("again", [True, False])
def test_a_process_that_is_killed_while_files_are_moved_loses_nothing(
    out: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    before, rename, moved = contents(out), Path.rename, []

    def stop(self: Path, target: Path) -> Path:
        if moved:
            raise MemoryError
        moved.append(self.name)
        return rename(self, target)

    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        patched.setattr(Path, "rename", stop)
        redone_folder(CamModel, out).__enter__()
    assert moved == ["manifest.json"] and read_identity(out) is None
    if again:
        with pytest.raises(RunFolderError), redone_folder(CamModel, out):
            train(out, 2, work=False)
    else:
        with step_folder(CamModel, out, section=TrainCam(epochs=1)) as step:
            assert step.complete
    assert contents(out) == before


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("work", [True, False])
def test_the_next_call_ends_what_a_killed_process_began(out: Path, work: bool) -> None:
    script = f"""
        import os, signal
        from pathlib import Path
        from tag2mask.artifacts.handles import CamModel
        from tag2mask.artifacts.redo import redone_folder
        from tag2mask.artifacts.step_folder import step_folder
        from tag2mask.recipe.training import TrainCam
        out = Path({json.dumps(str(out))})
        with redone_folder(CamModel, out):
            with step_folder(CamModel, out, section=TrainCam(epochs=2)) as step:
                if {work}:
                    (out / "losses.csv").touch()
                os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    kept = contents(out / redo.KEPT)
    assert kept["model.safetensors"] == "first"
    shutil.copytree(out, out.with_name("copy"))
    with pytest.raises(RunFolderError), redone_folder(CamModel, out):
        train(out, 3, work=False)
    # Work is what the next attempt would delete, else the first result.
    assert contents(out).keys() == ({"started.json", "losses.csv"} if work else kept.keys())
    # Without --redo, the attempt is resumed and ended.
    copy = out.with_name("copy")
    with step_folder(CamModel, copy, section=TrainCam(epochs=2)) as step:
        assert step.resumed
        (copy / "model.safetensors").write_text("second")
        step.finish()
    assert not (copy / redo.KEPT).exists()
    assert contents(copy)["model.safetensors"] == "second"
