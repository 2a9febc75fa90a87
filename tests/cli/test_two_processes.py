"""While one process works in a folder, no other command deletes or writes anything in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from small_runs import invoke, write_photos, write_recipe
from tag2mask.artifacts.step_table import STEP_NAMES
from tag2mask.files import lock

HOLD = """
import sys
from contextlib import ExitStack
from pathlib import Path
from tag2mask.files.lock import folder_lock
with ExitStack() as locks:
    for folder in sys.argv[1:]:
        locks.enter_context(folder_lock(Path(folder)))
    print("at work", flush=True)
    sys.stdin.read()
"""
COMMANDS = ("export", "tune", *STEP_NAMES)


@contextmanager
def another_process_in(*folders: Path) -> Iterator[None]:
    command = [sys.executable, "-c", HOLD, *map(str, folders)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == b"at work\n"
        try:
            yield
        finally:
            process.stdin.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run and its photos."""
    root = tmp_path_factory.mktemp("finished")
    write_photos(root / "photos", 16, masks=True)
    write_recipe(root / "recipe.yaml")
    result = run(root)
    assert result.exit_code == 0, result.output
    for name in ("export", "tune"):
        (root / "run" / name).mkdir()
    return root


def run(root: Path, *options: str):  # type: ignore[no-untyped-def]
    arguments = ("run", "--data", root / "photos", "--recipe", root / "recipe.yaml")
    return invoke(*arguments, "--out", root / "run", *options)


def step_command(root: Path, step: str, out: Path) -> list[str | Path]:
    """The command line of a step whose inputs are those of the run."""
    made = root / "run"
    data = ["--data", made / "prepare"]
    inputs: dict[str, list[str | Path]] = {
        "prepare": ["--data", root / "photos"],
        "train-cam": data,
        "infer-cam": [*data, "--model", made / "train-cam"],
        "affinity-labels": [*data, "--maps", made / "infer-cam"],
        "train-affinity": [*data, "--labels", made / "affinity-labels"],
        "walk": [*data, "--maps", made / "infer-cam", "--model", made / "train-affinity"],
        "pseudo-masks": [*data, "--maps", made / "walk"],
        "train-segmenter": [*data, "--masks", made / "pseudo-masks"],
        "predict": [root / "photos", "--model", made],
        "evaluate": [*data, "--maps", made / "walk", "--masks", made / "pseudo-masks"],
        "report": ["--run", made],
        "export": [made, "--format", "torch"],
        "tune": [made],
    }
    recipe = [] if step == "export" else ["--recipe", root / "recipe.yaml"]
    return [step, *inputs[step], *recipe, "--out", out]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def refuses(root: Path, folder: Path, *arguments: str | Path) -> None:
    """Check that a command refuses to work in a folder, and changes nothing anywhere."""
    before = contents(root)
    result = invoke(*arguments)
    assert result.exit_code == 1, result.output
    assert "another process is working in this folder" in result.stderr
    assert str(folder) in result.stderr
    assert contents(root) == before


@pytest.mark.parametrize("step", COMMANDS)
def test_a_step_waits_for_nobody_and_deletes_nothing(root: Path, tmp_path: Path, step: str) -> None:
    new, finished = tmp_path / step, tmp_path / "finished" / step
    copied = step if (root / "run" / step / "manifest.json").is_file() else "report"
    if copied == step:
        shutil.copytree(root / "run" / step, finished, copy_function=shutil.copy2)
    else:
        finished.mkdir(parents=True)
    with another_process_in(new, finished):
        refuses(root, new, *step_command(root, step, new))
        before = contents(finished)
        refuses(root, finished, *step_command(root, step, finished), "--redo")
        assert contents(finished) == before


@pytest.mark.parametrize("step", STEP_NAMES)
def test_redo_of_a_run_deletes_nothing_while_a_later_step_is_at_work(root: Path, step: str) -> None:
    later = root / "run" / STEP_NAMES[-1]
    line = ("run", "--data", root / "photos", "--recipe", root / "recipe.yaml")
    for folder in {root / "run" / step, later}:
        with another_process_in(folder):
            refuses(root, folder, *line, "--out", root / "run", "--redo", step)


@pytest.mark.parametrize("options", [[], ["--update"], ["--redo", "report"]])
def test_two_runs_of_one_folder(root: Path, options: list[str]) -> None:
    with another_process_in(root / "run"):
        line = ("run", "--data", root / "photos", "--recipe", root / "recipe.yaml")
        refuses(root, root / "run", *line, "--out", root / "run", *options)


def test_a_calibration_does_not_replace_masks_that_are_being_made(root: Path) -> None:
    masks = root / "run" / "pseudo-masks"
    with another_process_in(masks):
        line = step_command(root, "evaluate", root / "scores")
        refuses(root, masks, *line, "--calibrate", "2")


def test_a_folder_deleted_while_its_lock_is_taken_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, taken = lock._lock, []

    def delete_first(*arguments):  # type: ignore[no-untyped-def]
        if not taken:
            shutil.rmtree(tmp_path / "a")
        taken.append(take(*arguments))
        return taken[-1]

    monkeypatch.setattr(lock, "_lock", delete_first)
    with lock.folder_lock(tmp_path / "a") as held:
        assert held and (tmp_path / "a" / ".lock").exists()
    assert taken == [True, True]
