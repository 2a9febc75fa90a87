"""Bad input, case by case, through the real command line.

Each gets one message that names the problem, its place and the fix, and exit code 1; nothing is
lost or half-written, and earlier work is resumed.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import Result

from small_runs import cut_off, invoke, read_table, write_photos, write_recipe, write_table
from tag2mask.artifacts.step_table import STEPS
from tag2mask.seam.objective import SeamObjective
from tag2mask.training import loop as fit_module


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", masks=True)


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Maps after so little training are low everywhere: a low threshold gives masks."""
    return write_recipe(
        tmp_path / "recipe.yaml",
        pseudo_masks__threshold_from="fixed",
        pseudo_masks__background_threshold=0.01,
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


def run(photos: Path, settings: Path, out: Path, *options: str) -> Result:
    return invoke("run", "--data", photos, "--recipe", settings, "--out", out, *options)


def error_of(result: Result) -> str:
    """Return the error message, which must be the last line of the standard error."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.stderr
    messages = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert messages == result.stderr.splitlines()[-1:], result.stderr
    return messages[0]


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".tmp-*"))


@contextmanager
def interrupted_training(monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[None]:
    step = fit_module._Loop.step

    def stepped(loop: Any, number: int, batches: Any) -> dict[str, float]:
        if number == at:
            raise KeyboardInterrupt
        return step(loop, number, batches)

    with monkeypatch.context() as patched:
        patched.setattr(fit_module._Loop, "step", stepped)
        yield


def test_no_data(tmp_path: Path, settings: Path, out: Path) -> None:
    message = error_of(run(tmp_path / "nowhere", settings, out))
    assert "no such data folder" in message
    assert str(tmp_path / "nowhere") in message
    (tmp_path / "empty").mkdir()
    message = error_of(run(tmp_path / "empty", settings, out))
    assert str(tmp_path / "empty") in message


def test_a_wrong_folder(photos: Path, settings: Path, out: Path) -> None:
    message = error_of(run(photos / "a", settings, out))  # photos, but no tags
    assert str(photos / "a") in message
    for command, wrong in [("infer-cam", "--model"), ("pseudo-masks", "--maps")]:
        run(photos, settings, out, "--until", "prepare")
        message = error_of(
            invoke(command, "--data", out / "prepare", wrong, out / "prepare", "--out", out / "new")
        )
        assert "holds prepare, not" in message
        assert not (out / "new").exists()


def test_empty_tags(photos: Path, settings: Path, out: Path) -> None:
    write_table(photos, [[row[0], "", *row[2:]] for row in read_table(photos)])
    result = run(photos, settings, out)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "tag" in result.stderr
    assert str(photos) in result.stderr
    assert not (out / "train-cam").exists()


def test_an_unknown_recipe_key_and_an_impossible_value(
    tmp_path: Path, photos: Path, settings: Path, out: Path
) -> None:
    (tmp_path / "bad.yaml").write_text("train_cam: {epocs: 3, losses: {ecr_topp: 0.2}}\n")
    message = error_of(run(photos, tmp_path / "bad.yaml", out))
    assert "'train_cam.epocs'; did you mean 'train_cam.epochs'" in message
    assert "'train_cam.losses.ecr_top'" in message
    assert "bad.yaml" in message
    message = error_of(
        run(photos, settings, out, "--set", "train_cam.crop=8", "--set", "infer_cam.map_dtype=int4")
    )
    assert "train_cam.crop" in message
    assert "infer_cam.map_dtype" in message
    message = error_of(run(photos, settings, out, "--set", "train_cam.losses={cls: 0, er: 0}"))
    assert "no term trains the network" in message
    assert not out.exists()


def test_a_device_that_is_not_there(photos: Path, settings: Path, out: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    message = error_of(run(photos, settings, out, "--set", "runtime.device=cuda"))
    assert "no cuda device on this machine [runtime.device]" in message


def test_weights_of_another_network(
    tmp_path: Path, photos: Path, settings: Path, out: Path
) -> None:
    other = tmp_path / "other.pth"
    torch.save({"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)}, other)
    message = error_of(run(photos, settings, out, "--set", f"train_cam.backbone.weights={other}"))
    assert "weights of another network" in message
    assert "missing (" in message
    assert str(other) in message
    message = error_of(invoke("train-cam", "--import", other, "--out", tmp_path / "imported"))
    assert str(other) in message
    # Nothing was written, so a second try with the right weights needs no --redo.
    done = run(photos, settings, out, "--until", "train-cam")
    assert done.exit_code == 0, done.stderr
    assert (out / "train-cam" / "model.safetensors").is_file()


def test_weights_that_are_missing_or_no_weights(
    tmp_path: Path, photos: Path, settings: Path, out: Path
) -> None:
    (tmp_path / "text.pth").write_text("no weights")
    for name in ("nowhere.pth", "text.pth"):
        message = error_of(
            run(
                photos,
                settings,
                out / name,
                "--set",
                f"train_cam.backbone.weights={tmp_path / name}",
            )
        )
        assert str(tmp_path / name) in message


def test_a_truncated_checkpoint(
    photos: Path, settings: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = ["--set", "train_cam.checkpoint_minutes=0.000001", "--set", "train_cam.epochs=3"]
    with interrupted_training(monkeypatch, at=2):
        stopped = run(photos, settings, out, *often)
    assert stopped.exit_code == 130
    assert stopped.stderr.endswith("interrupted; run the same command again to resume\n")
    checkpoint = out / "train-cam" / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    message = error_of(run(photos, settings, out, *often))
    assert "checkpoint can't be read" in message
    assert str(checkpoint) in message
    checkpoint.unlink()
    assert run(photos, settings, out, *often, "--until", "train-cam").exit_code == 0


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "no permission to write")],
)
def test_a_disk_that_takes_nothing_more_stops_every_step_and_each_is_resumed(
    photos: Path, settings: Path, out: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    replace = Path.replace
    for kind in STEPS:

        def failing(path: Path, target: Path, step: str = kind.step) -> Path:
            if Path(target).is_relative_to(out / step) and Path(target).name != "started.json":
                raise OSError(code, os.strerror(code))
            return replace(path, target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", failing)
            message = error_of(run(photos, settings, out))
        assert words in message
        assert str(out / kind.step) in message
        assert not (out / kind.step / "manifest.json").exists()
        assert leftovers(out) == []
    assert run(photos, settings, out).exit_code == 0
    assert all((out / kind.step / "manifest.json").is_file() for kind in STEPS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_journal_that_cannot_be_written_is_reported_once(
    photos: Path, settings: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing a file whose buffer could not be written raises again."""
    with monkeypatch.context() as patched:
        patched.setattr(
            "tag2mask.artifacts.journal._open",
            lambda path: Path("/dev/full").open("ab"),  # noqa: SIM115
        )
        message = error_of(run(photos, settings, out))
    assert "the disk is full" in message and str(out / "infer-cam") in message
    assert "Free some space" in message
    assert run(photos, settings, out, "--until", "infer-cam").exit_code == 0


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_a_place_where_no_folder_can_be_made(photos: Path, settings: Path) -> None:
    message = error_of(run(photos, settings, Path("/proc/tag2mask-run")))
    assert "the folder can't be made" in message and "Give another folder" in message


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("evaluate.thresholds=[]", "evaluate.thresholds"),
        ("train_segmenter.color_jitter=[0.1,0.1,0.1,0.6]", "train_segmenter.color_jitter"),
        ("evaluate.leave_out=nolist.txt", "no list of ids 'nolist.txt'"),
    ],
)
def test_a_setting_that_a_late_step_can_not_use_is_found_at_once(
    photos: Path, settings: Path, out: Path, setting: str, words: str
) -> None:
    message = error_of(run(photos, settings, out, "--set", setting))
    assert words in message
    assert not (out / "prepare").exists()


def test_a_place_that_may_not_be_written(photos: Path, settings: Path) -> None:
    place = Path("/sys/tag2mask-run")
    if not place.parent.is_dir():
        pytest.skip("there is no folder here that even root can't write to")
    message = error_of(run(photos, settings, place))
    assert "no permission" in message or "read-only" in message
    assert str(place) in message


def test_a_file_where_the_run_folder_should_be(photos: Path, settings: Path, out: Path) -> None:
    out.write_text("mine")
    message = error_of(run(photos, settings, out))
    assert str(out) in message
    assert out.read_text() == "mine"


def test_a_run_folder_made_by_another_recipe(
    tmp_path: Path, photos: Path, settings: Path, out: Path
) -> None:
    assert run(photos, settings, out, "--until", "infer-cam").exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    message = error_of(run(photos, settings, out, "--set", "train_cam.optimizer.lr=0.5"))
    assert "train_cam.optimizer.lr: 0.001 -> 0.5" in message
    assert "--redo" in message
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_a_folder_of_something_else(photos: Path, settings: Path, out: Path) -> None:
    (out / "train-cam").mkdir(parents=True)
    (out / "train-cam" / "thesis.tex").write_text("mine")
    message = error_of(run(photos, settings, out))
    assert str(out / "train-cam") in message
    assert (out / "train-cam" / "thesis.tex").read_text() == "mine"


def test_running_out_of_gpu_memory(
    photos: Path, settings: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 20 MiB")

    monkeypatch.setattr(SeamObjective, "forward", forward)
    message = error_of(run(photos, settings, out))
    assert "ran out of memory" in message
    assert "train_cam.batch_size" in message
    assert "set train_cam.gradient_checkpointing=true" in message
    message = error_of(run(photos, settings, out, "--set", "train_cam.gradient_checkpointing=true"))
    assert "train_cam.batch_size" in message and "checkpointing" not in message


def test_an_unreadable_photo_in_the_middle_of_a_run(
    photos: Path, settings: Path, out: Path
) -> None:
    """A photo with a readable header fails when it is decoded."""
    cut_off(photos / "b" / "05.png")
    cut_off(photos / "b" / "03.png")
    longer = ["--set", "train_cam.epochs=2"]
    message = error_of(run(photos, settings, out, *longer))
    assert str(photos / "b" / "05.png") in message
    assert "--skip-bad" in message
    done = run(photos, settings, out, *longer, "--skip-bad")
    assert done.exit_code == 3, done.stderr
    assert done.stderr.count("left out: ") == 2
    assert "left out: b/03: photo can't be read" in done.stderr
    assert (out / "report" / "index.html").is_file()
    # Complete now: nothing runs, and the skipped photos are still reported.
    assert run(photos, settings, out, *longer, "--skip-bad").exit_code == 3


def test_a_file_that_is_not_a_photo(photos: Path, settings: Path, out: Path) -> None:
    (photos / "b" / "05.png").write_bytes(b"no photo")
    stopped = run(photos, settings, out)
    assert stopped.exit_code == 1
    assert "05.png" in stopped.stderr
    assert "--skip-bad" in stopped.stderr
    done = run(photos, settings, out, "--skip-bad", "--until", "train-cam")
    assert done.exit_code == 3, done.stderr
    assert "left out: b/05" in done.stderr


def test_photos_that_disappear_after_they_were_listed(
    photos: Path, settings: Path, out: Path
) -> None:
    assert run(photos, settings, out, "--until", "prepare").exit_code == 0
    shutil.rmtree(photos / "a")
    message = error_of(
        invoke(
            "train-cam", "--data", out / "prepare", "--recipe", settings, "--out", out / "train-cam"
        )
    )
    assert "photo is missing" in message
    assert str(photos / "a") in message
