"""The command line: what it parses, which exit code, and one readable message."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main
from PIL import Image
from typer.testing import CliRunner

from tag2mask.artifacts.handles import (
    WITHOUT_SURE_PIXELS,
    WITHOUT_TAGGED_PIXELS,
    AffinityModel,
    CamMaps,
    CamModel,
    Handle,
    PreparedData,
    SegmenterModel,
)
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.artifacts.step_table import STEP_NAMES
from tag2mask.cli import app as cli
from tag2mask.cli import steps as cli_steps
from tag2mask.data.index import Sample, write_index, write_source
from tag2mask.errors import DataError
from tag2mask.pipeline import run as pipeline
from tag2mask.pipeline.run import RunResult
from tag2mask.recipe.loading import RECIPE_HEAD, dump_recipe, load_recipe
from tag2mask.recipe.schema import Recipe
from tag2mask.recipe.sections import Prepare
from tag2mask.version import __version__

runner = CliRunner()
GROUPS = {
    "Start here": ["demo", "run", "status", "data", "recipe"],
    "Use a trained network": ["predict", "export", "masks"],
    "Steps": [name for name in STEP_NAMES if name != "predict"],
    "Experiments": ["compare", "tune", "ablate"],
}
COMMANDS = [
    *([name] for names in GROUPS.values() for name in names),
    ["data", "check"],
    ["recipe", "list"],
    ["recipe", "show"],
    ["recipe", "check"],
    ["masks", "export"],
    ["masks", "import"],
    ["masks", "score"],
]


def call(*arguments: str | Path) -> Any:
    return runner.invoke(cli.app, [str(argument) for argument in arguments])


def prepared(out: Path) -> Path:
    with step_folder(PreparedData, out, section=Prepare()) as step:
        step.finish()
    return out


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    rows = ["image,tags,split"]
    for index in range(8):
        Image.new("RGB", (20, 10)).save(folder / f"{index}.png")
        rows.append(f"{index}.png,cat,{'val' if index % 4 == 0 else 'train'}")
    (folder / "tags.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str]) -> None:
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_help_lists_the_commands_in_groups() -> None:
    lines = call("--help").output.splitlines()
    starts = [next(i for i, line in enumerate(lines) if name in line) for name in GROUPS]
    assert starts == sorted(starts)
    for start, end, names in zip(starts, [*starts[1:], None], GROUPS.values(), strict=True):
        rows = [line.strip("│ ").split("  ")[0] for line in lines[start + 1 : end]]
        assert [row for row in rows if [row] in COMMANDS] == names


def descriptions(command: Any) -> Iterator[str]:
    for inner in getattr(command, "commands", {}).values():
        yield inner.help
        yield from descriptions(inner)
    yield from (p.help for p in command.params if getattr(p, "help", None) and p.name != "help")


def test_help_texts_are_sentences() -> None:
    texts = list(descriptions(typer.main.get_command(cli.app)))
    assert len(texts) > 60
    assert [text for text in texts if not (text[0].isupper() and text.endswith("."))] == []


def test_help_needs_less_than_a_second_of_the_processor() -> None:
    code = (
        "import time\nfrom tag2mask.__main__ import main\ntry:\n    main()\n"
        "except SystemExit:\n    import sys\n    print(time.process_time(), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True
    )
    assert "Start here" in done.stdout
    assert float(done.stderr) < 1


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tag2mask", "status", str(tmp_path / "nowhere")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: no run folder")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_names_that_the_encoding_of_the_output_lacks(tmp_path: Path) -> None:
    (tmp_path / "写真").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "写真" / "a.jpg")
    done = subprocess.run(
        [sys.executable, "-m", "tag2mask", "data", "check", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )
    assert "Traceback" not in done.stderr and done.returncode == 0
    assert "\\u5199\\u771f" in done.stdout


def test_version() -> None:
    assert call("--version").output == f"tag2mask {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["run", "--data", "x"],
        ["run", "--data", "x", "--out", "y", "--until", "train_cam"],
        ["run", "--data", "x", "--out", "y", "--source", "excel"],
        ["infer-cam", "--data", "x", "--model", "m", "--out", "y", "--tags", "guessed"],
        ["run", "--data", "", "--out", "y"],
        ["run", "--data", "x", "--out="],
        ["predict", "", "--model", "x", "--out", "y"],
        ["train-cam", "--out", "y"],
        ["train-cam", "--out", "y", "--data", "x", "--import", "z"],
        ["train-affinity", "--out", "y"],
        ["train-affinity", "--out", "y", "--data", "x"],
        ["train-affinity", "--out", "y", "--labels", "x", "--import", "z"],
        [
            "evaluate",
            "--data",
            "d",
            "--maps",
            "m",
            "--masks",
            "k",
            "--out",
            "o",
            "--calibrate",
            "0",
        ],
    ],
)
def test_a_wrong_command_line_exits_with_2(arguments: list[str]) -> None:
    assert call(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--data", "nowhere", "--out", "r"], "no such data folder"),
        (["run", "--data", "nowhere", "--out", "r", "--recipe", "lite0"], "'lite0-cpu'"),
        (
            ["run", "--data", "nowhere", "--out", "r", "--set", "train_cam.epoch=3"],
            "did you mean 'train_cam.epochs'",
        ),
        (
            ["run", "--data", "nowhere", "--out", "r", "--set", "train_cam.epochs=-1"],
            "train_cam.epochs",
        ),
        (["status", "nowhere"], "no run folder"),
        (["infer-cam", "--data", "nowhere", "--model", "m", "--out", "r"], "no prepare folder"),
        (
            ["affinity-labels", "--data", "nowhere", "--maps", "m", "--out", "r"],
            "no prepare folder",
        ),
        (
            ["train-affinity", "--data", "nowhere", "--labels", "l", "--out", "r"],
            "no prepare folder",
        ),
        (
            ["walk", "--data", "nowhere", "--maps", "m", "--model", "a", "--out", "r"],
            "no prepare folder",
        ),
        (["recipe", "check", "nowhere.yaml"], "no recipe"),
        (["tune", "nowhere"], "no prepare folder"),
        (["data", "check", "nowhere"], "no such data folder"),
    ],
)
def test_an_error_is_one_message_and_exit_code_1(arguments: list[str], words: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert not Path("r").exists()


def test_run_hands_its_options_to_the_pipeline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    def run(data: Path, recipe: Recipe, out: Path, **options: Any) -> RunResult:
        seen.update(options, data=data, recipe=recipe, out=out)
        return RunResult(out, {"prepare": PreparedData.open(prepared(out / "prepare"))})

    monkeypatch.setattr(pipeline, "run", run)
    result = call(
        "run",
        "--data",
        "photos",
        "--out",
        tmp_path / "run",
        "--set",
        "train_cam.epochs=3",
        "--set",
        "infer_cam.scales=[1.0]",
        "--until",
        "infer-cam",
        "--update",
        "--redo",
        "train-cam",
        "--skip-bad",
        "--source",
        "csv",
        "--compare",
        "other",
    )
    assert result.exit_code == 0
    assert str(tmp_path / "run" / "prepare") in result.stdout
    recipe = seen["recipe"]
    assert recipe == load_recipe(
        "lite0-cpu",
        [
            "train_cam.epochs=3",
            "infer_cam.scales=[1.0]",
            "prepare.source=csv",
            "prepare.skip_bad=true",
            "train_cam.skip_bad=true",
            "infer_cam.skip_bad=true",
            "affinity_labels.skip_bad=true",
            "train_affinity.skip_bad=true",
            "walk.skip_bad=true",
            "tune.skip_bad=true",
            "pseudo_masks.skip_bad=true",
            "train_segmenter.skip_bad=true",
            "predict.skip_bad=true",
        ],
    )
    assert (seen["until"], seen["update"], seen["redo"]) == ("infer-cam", True, "train-cam")
    assert seen["compare"] == [Path("other")]


def test_a_begun_run_takes_its_own_recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[Recipe] = []

    def run(data: Path, recipe: Recipe, out: Path, **options: Any) -> RunResult:
        seen.append(recipe)
        return RunResult(out, {"prepare": PreparedData.open(prepared(out / "prepare"))})

    monkeypatch.setattr(pipeline, "run", run)
    out, own = tmp_path / "run", load_recipe("tiny", ["train_cam.epochs=3"])
    out.mkdir()
    (out / "recipe.yaml").write_text("train_cam: {epochs: 9}")  # no run's
    assert "recipe:" not in call("run", "--data", "photos", "--out", out).stdout
    (out / "recipe.yaml").write_text(f"{RECIPE_HEAD}\n{dump_recipe(own)}")
    result = call("run", "--data", "photos", "--out", out, "--set", "walk.steps=2")
    assert result.stdout.startswith(f"recipe: {out / 'recipe.yaml'}\n")
    call("run", "--data", "photos", "--out", out, "--recipe", "mdc-baseline")
    assert seen == [
        load_recipe("lite0-cpu"),
        load_recipe("tiny", ["train_cam.epochs=3", "walk.steps=2"]),
        load_recipe("mdc-baseline"),
    ]


def raising(error: BaseException) -> Any:
    def run(*_: Any, **__: Any) -> RunResult:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            DataError("photo a can't be read", where="a.jpg", fix="Replace it."),
            1,
            "error: photo a can't be read [a.jpg]. Replace it.",
        ),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to resume"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 1, "error: the disk is full. Free"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x/y"),
            1,
            "error: Permission denied [/x/y]",
        ),
        (MemoryError(), 1, "error: out of memory"),
    ],
)
def test_errors_of_a_run_become_exit_codes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException, code: int, words: str
) -> None:
    monkeypatch.delenv("TAG2MASK_DEBUG", raising=False)
    monkeypatch.setattr(pipeline, "run", raising(error))
    result = call("run", "--data", "photos", "--out", tmp_path)
    assert result.exit_code == code
    assert result.stderr == f"{words}\n" or result.stderr.startswith(words)


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAG2MASK_DEBUG", "1")
    monkeypatch.setattr(pipeline, "run", raising(DataError("bad")))
    assert isinstance(call("run", "--data", "x", "--out", tmp_path).exception, DataError)


def test_bugs_of_this_package_keep_their_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pipeline, "run", raising(AssertionError("bug")))
    assert isinstance(call("run", "--data", "x", "--out", tmp_path).exception, AssertionError)


def test_skipped_photos_are_named_and_exit_with_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with step_folder(CamMaps, tmp_path / "m", section={}) as step:
        handle = step.finish(skipped=[f"photo{i}: cut off" for i in range(12)])
    monkeypatch.setattr(pipeline, "run", lambda *_, **__: RunResult(tmp_path, {"m": handle}))
    result = call("run", "--data", "x", "--out", tmp_path)
    assert result.exit_code == 3
    assert "left out: photo0: cut off" in result.stderr
    assert "2 more" in result.stderr


def run_of(handle: Handle) -> Callable[..., RunResult]:
    """A run of one step that is complete at once."""

    def run(*_: Any, on_step: Callable[[Handle], None], **__: Any) -> RunResult:
        on_step(handle)
        return RunResult(handle.path.parent, {handle.step: handle})

    return run


def test_warnings_of_the_data_are_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with step_folder(PreparedData, tmp_path / "p", section=Prepare()) as step:
        write_source(step.path, "csv", tmp_path)
        write_index(
            step.path, "train", [Sample("a", tmp_path / "a.jpg", (300, 384), (), "")], tmp_path
        )
        handle = step.finish(
            metrics={
                "understood": ["layout: csv", "photos: 3 train"],
                "warnings": [f"class 'cat{number}' has no training photo" for number in range(7)],
            }
        )
    monkeypatch.setattr(pipeline, "run", run_of(handle))
    result = call("run", "--data", "x", "--out", tmp_path)
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "layout: csv\nphotos: 3 train\nobjects: smaller than about 16 px"
    )
    assert "warning: class 'cat4' has no training photo" in result.stderr
    assert "cat5" not in result.stderr and "2 more warnings" in result.stderr


def test_photos_without_a_sure_pixel_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with step_folder(AffinityModel, tmp_path / "a", section={}) as step:
        handle = step.finish(
            counts={WITHOUT_SURE_PIXELS: 12},
            metrics={WITHOUT_SURE_PIXELS: [f"b/{i}" for i in range(12)]},
        )
    monkeypatch.setattr(pipeline, "run", run_of(handle))
    result = call("run", "--data", "x", "--out", tmp_path)
    assert result.exit_code == 0
    assert "without a sure pixel: b/0, b/1," in result.stderr
    assert "b/9 and 2 more" in result.stderr and "b/10" not in result.stderr


def test_the_status_repeats_the_warnings_of_complete_steps(tmp_path: Path) -> None:
    with step_folder(PreparedData, tmp_path / "prepare", section=Prepare()) as step:
        step.finish(
            metrics={"understood": ["layout: csv"], "warnings": ["class 'x' is everywhere"]}
        )
    with pytest.raises(KeyError), step_folder(CamMaps, tmp_path / "infer-cam", section={}):
        raise KeyError  # it has no warnings yet
    result = call("status", tmp_path)
    assert result.exit_code == 0 and "warning: class 'x' is everywhere" in result.stderr
    assert "layout: csv" not in result.stdout


def test_photos_with_empty_masks_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with step_folder(SegmenterModel, tmp_path / "s", section={}) as step:
        (tmp_path / "s" / "model.safetensors").write_bytes(b"")
        handle = step.finish(
            counts={WITHOUT_TAGGED_PIXELS: 2}, metrics={WITHOUT_TAGGED_PIXELS: ["a", "b"]}
        )
    monkeypatch.setattr(pipeline, "run", run_of(handle))
    result = call("run", "--data", "x", "--out", tmp_path)
    assert "(2 without_tagged_pixels)" in result.stdout
    assert "with masks that show none of their tags: a, b (listed" in result.stderr


def fake_stage(monkeypatch: pytest.MonkeyPatch, name: str, **functions: Any) -> None:
    module = ModuleType(f"tag2mask.steps.{name}")
    for key, function in functions.items():
        setattr(module, key, function)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    import tag2mask.steps

    monkeypatch.setattr(tag2mask.steps, name, module, raising=False)


class OneRank:
    """Counts how often the ranks meet."""

    def __init__(self) -> None:
        self.met = 0

    def gather_results(self, work: Any) -> list[Any]:
        self.met += 1
        return [work()]


def test_a_step_gets_handles_its_section_and_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Any] = []

    def infer(
        data: Any, model: Any, section: Any, out: Path, runtime: Any, modules: Any = ()
    ) -> CamMaps:
        seen.extend([data, model, section, out])
        with step_folder(CamMaps, out, section=section) as step:
            return step.handle if step.complete else step.finish(counts={"photos": 2})

    fake_stage(monkeypatch, "infer_cam", infer_cam=infer)
    ranks = OneRank()
    monkeypatch.setattr(cli_steps, "start_runtime", lambda *_: ranks)
    data = prepared(tmp_path / "prepare")
    with step_folder(CamModel, tmp_path / "model", section={}) as step:
        (step.path / "model.safetensors").touch()
        step.finish()
    arguments = [
        "infer-cam",
        "--data",
        data,
        "--model",
        tmp_path / "model",
        "--out",
        tmp_path / "maps",
        "--tags",
        "predicted",
        "--set",
        "infer_cam.flip=false",
    ]
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    assert "2 photos" in result.stdout
    handle, model, section, out = seen
    assert (handle, model) == (PreparedData(data), CamModel(tmp_path / "model"))
    assert (section.tags, section.flip) == ("predicted", False)
    assert out == tmp_path / "maps"
    # Other settings are refused, and the message names --redo as the fix.
    refused = call(*arguments[:-1], "infer_cam.flip=true")
    assert refused.exit_code == 1
    assert "tag2mask infer-cam --redo" in refused.stderr
    assert ranks.met == 0
    assert call(*arguments[:-1], "infer_cam.flip=true", "--redo").exit_code == 0
    assert ranks.met == 1  # no rank may look at the folder before it is gone


def test_a_step_refuses_the_folder_of_another_step(tmp_path: Path) -> None:
    data = prepared(tmp_path / "prepare")
    result = call("pseudo-masks", "--data", data, "--maps", data, "--out", tmp_path / "masks")
    assert result.exit_code == 1
    assert "this folder holds prepare, not maps" in result.stderr


def test_recipes_are_listed_shown_and_checked(tmp_path: Path) -> None:
    listed = call("recipe", "list")
    assert "lite0-cpu" in listed.stdout
    shown = call("recipe", "show", "lite0-cpu", "--set", "train_cam.epochs=7")
    (tmp_path / "mine.yaml").write_text(shown.stdout)
    assert load_recipe(tmp_path / "mine.yaml").train_cam.epochs == 7
    assert call("recipe", "check", tmp_path / "mine.yaml").exit_code == 0
    (tmp_path / "mine.yaml").write_text("train_cam: {epocs: 7, crop: 3}")
    checked = call("recipe", "check", tmp_path / "mine.yaml")
    assert checked.exit_code == 1
    assert "train_cam.epocs" in checked.stderr
    assert "train_cam.crop" in checked.stderr


def test_data_check_counts_and_reports_all_problems(photos: Path) -> None:
    fine = call("data", "check", photos)
    assert fine.exit_code == 0, fine.output
    assert "6 train, 2 val" in fine.stdout and "\nobjects: " in fine.stdout
    (photos / "1.png").write_bytes(b"no photo")
    (photos / "2.png").unlink()
    broken = call("data", "check", photos)
    assert broken.exit_code == 1
    assert "1.png" in broken.stderr
    assert "2.png" in broken.stderr
    assert "2 errors" in broken.stderr


def test_dry_run_prints_a_plan_and_writes_nothing(photos: Path, tmp_path: Path) -> None:
    result = call("run", "--data", photos, "--out", tmp_path / "run", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "6 training and 2 validation photos" in result.stdout
    assert "photos: 6 train, 2 val" in result.stdout and "\nobjects: " in result.stdout
    assert "Estimated" in result.stdout
    assert not (tmp_path / "run").exists()


def test_dry_run_ends_with_the_error_that_the_run_would_end_with(
    photos: Path, tmp_path: Path
) -> None:
    run = ["run", "--data", photos, "--out", tmp_path / "run", "--dry-run"]
    assert call("prepare", "--data", photos, "--out", tmp_path / "run" / "prepare").exit_code == 0
    (photos / "1.png").unlink()
    table = photos / "tags.csv"
    for text, wrong in (
        (table.read_text(), "1 problem in the data"),
        (table.read_text().replace("1.png,cat,train\n", ""), "1 photo removed"),
    ):
        table.write_text(text)
        result = call(*run)
        assert result.exit_code == 1
        assert (
            result.stderr
            == call("prepare", "--data", photos, "--out", tmp_path / "run" / "prepare").stderr
        )
        assert wrong in result.stderr and "Estimated" not in result.stdout
        assert "refuse" in result.stdout and "not reached" in result.stdout
    result = call(*run, "--update")
    assert result.exit_code == 0, result.output
    assert "less where a step resumes or updates" in result.stdout


def test_dry_run_refuses_a_crop_that_the_network_can_not_take(photos: Path, tmp_path: Path) -> None:
    arguments = ["run", "--data", photos, "--out", tmp_path / "run"]
    arguments += ["--set", "train_segmenter.crop=225"]
    planned = call(*arguments, "--dry-run")
    assert planned.exit_code == 1 and "refuse" in planned.stdout
    assert "multiples of 16 px" in planned.stderr
    assert planned.stderr == call(*arguments).stderr


def begun_run(photos: Path, out: Path) -> Path:
    """Prepare a run whose CAM network took 42 minutes."""
    assert call("prepare", "--data", photos, "--out", out / "prepare").exit_code == 0
    data = PreparedData.open(out / "prepare")
    section = load_recipe("lite0-cpu").train_cam
    with step_folder(CamModel, out / "train-cam", section=section, inputs={"data": data}) as step:
        (step.path / "model.safetensors").touch()
        step.finish()
    manifest = out / "train-cam" / "manifest.json"
    values = json.loads(manifest.read_text()) | {"seconds": 2530.0}
    manifest.write_text(json.dumps(values))
    return out


def test_redo_names_what_it_deletes(
    monkeypatch: pytest.MonkeyPatch, photos: Path, tmp_path: Path
) -> None:
    out = begun_run(photos, tmp_path / "run")
    line = "deletes prepare, train-cam (42 min)\n"
    arguments = ["run", "--data", photos, "--out", out, "--redo", "prepare"]
    planned = call(*arguments, "--dry-run")
    assert planned.exit_code == 0 and planned.stdout.endswith(line)
    assert "deletes" not in call(*arguments[:-1], "infer-cam", "--dry-run").output
    monkeypatch.setattr(pipeline, "run", raising(DataError("as far as the run")))
    assert call(*arguments).stderr == f"{line}error: as far as the run\n"
    redone = call("prepare", "--data", photos, "--out", out / "prepare", "--redo")
    assert redone.exit_code == 0 and redone.stderr.startswith("deletes prepare\n")


def test_a_redo_that_fails_at_its_start_keeps_the_earlier_result(
    photos: Path, tmp_path: Path
) -> None:
    out = begun_run(photos, tmp_path / "run")
    before = {path: path.read_bytes() for path in out.rglob("*.json*")}
    (photos / "1.png").unlink()
    for words, wrong in (
        (("prepare", "--data", photos), "1 problem in the data"),
        (("train-cam", "--import", "gone.pth"), "gone.pth"),
        (("train-cam", "--data", out / "prepare", "--set", "train_cam.init_from=no.pth"), "no.pth"),
    ):
        done = call(*words, "--out", out / str(words[0]), "--redo")
        assert done.exit_code == 1 and wrong in done.stderr, done.output
        assert done.stderr.startswith(f"deletes {words[0]}")
        assert {path: path.read_bytes() for path in out.rglob("*.json*")} == before
    assert (out / "train-cam" / "model.safetensors").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="no terminal to answer on")
@pytest.mark.parametrize(
    ("answer", "yes", "deleted"),
    [
        ("n", False, False),
        ("", False, False),
        ("\x04", False, False),
        ("y", False, True),
        ("", True, True),
    ],
)
def test_redo_asks_on_a_terminal(
    photos: Path, tmp_path: Path, answer: str, yes: bool, deleted: bool
) -> None:
    import pty

    folder = begun_run(photos, tmp_path / "run") / "prepare"
    before = (folder / "manifest.json").stat().st_mtime_ns
    user, terminal = pty.openpty()
    os.write(user, f"{answer}\n".encode())
    arguments = [
        "prepare",
        "--data",
        photos,
        "--out",
        folder,
        "--redo",
        *(["--yes"] if yes else []),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tag2mask", *arguments], stdin=terminal, stderr=terminal, check=False
    )
    os.close(terminal)
    shown = os.read(user, 10_000).decode()
    os.close(user)
    assert done.returncode == (0 if deleted else 1)
    assert ((folder / "manifest.json").stat().st_mtime_ns != before) == deleted
    assert ("Delete?" in shown) == (not yes)
    assert ("error: nothing was deleted [--redo]" in shown) == (not deleted)


def test_status_prints_states_and_reasons(tmp_path: Path) -> None:
    prepared(tmp_path / "prepare")
    (tmp_path / "recipe.yaml").write_text("prepare: {train_split: mine}")
    result = call("status", tmp_path)
    assert result.exit_code == 0
    assert 'prepare.train_split: "train" -> "mine"' in result.stdout
    assert "missing" in result.stdout


@pytest.mark.parametrize(
    "moment",
    [
        # Inside code made from a string.
        "from tag2mask.cli import steps as cli_steps\n"
        "cli_steps.load_chosen_recipe = lambda *_, **__: exec('raise KeyboardInterrupt')\n",
        # While the command line is imported.
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'tag2mask.artifacts.handles':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n",
    ],
)
def test_an_interrupt_at_an_odd_moment_ends_with_130_too(tmp_path: Path, moment: str) -> None:
    (tmp_path / "interrupted.py").write_text(
        f"{moment}from tag2mask.__main__ import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "interrupted", "prepare", "--data", ".", "--out", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr == "interrupted; run the same command again to resume\n"
