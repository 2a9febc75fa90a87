"""A run that starts from another one takes what holds, and never changes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from data_folders import ends_soon
from odd_folders import linked
from PIL import Image

from small_runs import invoke, write_photos, write_recipe
from tag2mask.artifacts.handles import CamMaps, CamModel, Handle, PreparedData
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.index import read_index
from tag2mask.errors import DataError, RunFolderError
from tag2mask.pipeline.branch import copy_steps, held_steps, is_begun, recipe_to_branch
from tag2mask.pipeline.status import folder_states
from tag2mask.recipe.loading import RECIPE_HEAD, dump_recipe, recipe_from
from tag2mask.recipe.schema import Recipe


def make(
    kind: type[Handle], run: Path, files: Mapping[str, str], section: Any, **sources: Any
) -> Handle:
    with step_folder(kind, run / kind.step, section=section, **sources) as step:
        for name, text in files.items():
            path = step.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        step.journal.record("a", "key")
        return step.finish()


def begun(run: Path) -> Path:
    """Make a run up to its maps, with another run and data inside."""
    recipe = Recipe()
    data = make(PreparedData, run, {"train.jsonl": "{}"}, recipe.prepare)
    files = {"model.safetensors": "weights", "losses.csv": "step", "pictures/1.jpg": "picture"}
    model = make(CamModel, run, files, recipe.train_cam, inputs={"data": data})
    sources = {"inputs": {"model": model}, "coverage": {"data": data}}
    make(CamMaps, run, {"maps/b/a.npz": "map", ".lock": ""}, recipe.infer_cam, **sources)
    for name in ("data/a.jpg", "other/prepare/manifest.json", "notes.txt"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("mine")
    (run / "recipe.yaml").write_text(f"{RECIPE_HEAD}\n{dump_recipe(recipe)}")
    return run


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("changes", "redo", "held"),
    [
        ({}, None, [PreparedData, CamModel, CamMaps]),
        (
            {"walk": {"steps": 3}, "train_cam": {"log_every": 3}},
            None,
            [PreparedData, CamModel, CamMaps],
        ),
        ({"infer_cam": {"flip": False}}, None, [PreparedData, CamModel]),
        ({"train_cam": {"epochs": 3}}, None, [PreparedData]),
        ({"prepare": {"val_split": None}}, None, []),
        ({}, "train-cam", [PreparedData]),
    ],
)
def test_steps_hold_where_the_recipe_would_make_the_same(
    tmp_path: Path, changes: Any, redo: str | None, held: list[type[Handle]]
) -> None:
    assert held_steps(begun(tmp_path / "run"), recipe_from(changes), redo) == held


def test_copied_steps_are_complete_and_share_only_what_is_replaced_by_renaming(
    tmp_path: Path,
) -> None:
    run, out = begun(tmp_path / "run"), tmp_path / "out"
    before = contents(run)
    copy_steps(run, out, held_steps(run, Recipe()))
    assert sorted(path.name for path in out.iterdir()) == ["infer-cam", "prepare", "train-cam"]
    made = contents(out)
    assert made == {name: before[name] for name in made}
    left = {name for name in before if name.split("/")[0] in ("infer-cam", "prepare", "train-cam")}
    assert {Path(name).name for name in left - made.keys()} <= {".lock"}
    linked = {name for name in made if (out / name).samefile(run / name)}
    assert linked == {
        "train-cam/model.safetensors",
        "train-cam/pictures/1.jpg",
        "infer-cam/maps/b/a.npz",
    }
    states = {found.step: found.folder.state for found in folder_states(out, Recipe())}
    assert [states[kind.step] for kind in (PreparedData, CamModel, CamMaps)] == ["fresh"] * 3


def test_without_hard_links_files_are_copied_with_their_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impossible(*_: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", impossible)
    run, out = begun(tmp_path / "run"), tmp_path / "out"
    copy_steps(run, out, [CamMaps])
    assert (
        contents(out / "infer-cam")["maps/b/a.npz"] == contents(run / "infer-cam")["maps/b/a.npz"]
    )


def test_an_interrupted_copy_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, out = begun(tmp_path / "run"), tmp_path / "out"
    linked = os.link

    def interrupted(source: Path, target: Path) -> None:
        if source.suffix == ".npz":
            raise KeyboardInterrupt
        linked(source, target)

    held = held_steps(run, Recipe())
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(os, "link", interrupted)
        copy_steps(run, out, held)
    assert sorted(path.name for path in out.iterdir()) == ["prepare", "train-cam"]
    assert not is_begun(out)
    (out / ".branch-killed").mkdir()
    copy_steps(run, out, held)
    assert sorted(path.name for path in out.iterdir()) == ["infer-cam", "prepare", "train-cam"]


def test_a_run_to_start_from_has_a_recipe_and_is_another_folder(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    assert recipe_to_branch(run, tmp_path / "out") == run / "recipe.yaml"
    for inside in (run, run / "branch"):
        with pytest.raises(RunFolderError, match="inside the run that it starts from"):
            recipe_to_branch(run, inside)
    (run / "recipe.yaml").unlink()
    for other in (run, tmp_path / "nowhere"):
        with pytest.raises(RunFolderError, match="no run to start from"):
            recipe_to_branch(other, tmp_path / "out")


@pytest.mark.slow
def test_nothing_done_in_a_new_run_changes_the_one_it_started_from(tmp_path: Path) -> None:
    photos, run, out = write_photos(tmp_path / "photos"), tmp_path / "run", tmp_path / "out"
    data = ["run", "--data", photos]
    low = {"pseudo_masks__threshold_from": "fixed", "pseudo_masks__background_threshold": 0.01}
    settings = write_recipe(tmp_path / "recipe.yaml", **low)
    done = invoke(*data, "--recipe", settings, "--out", run)
    assert done.exit_code == 0, done.output
    before = contents(run)

    def works(*options: str | Path) -> str:
        result = invoke(*data, "--out", out, *options)
        assert result.exit_code == 0, result.output
        assert contents(run) == before
        return str(result.output)

    branch = ["--from", run, "--set", "walk.steps=2"]
    planned = works(*branch, "--dry-run")
    assert f"from {run}" in planned and not out.exists()
    assert f"recipe: {run / 'recipe.yaml'}" in works(*branch)
    made = contents(out)
    for step in ("prepare", "train-cam", "infer-cam", "affinity-labels", "train-affinity"):
        name = f"{step}/manifest.json"
        assert made[name] == before[name]
    assert made["walk/manifest.json"] != before["walk/manifest.json"]
    again = works(*branch)  # resumes: nothing is left to do
    assert contents(out) == made, again
    works("--redo", "infer-cam")
    table = photos / "tags.csv"
    lines = [line for line in table.read_text().splitlines() if "a/02" not in line]
    table.write_text("\n".join(lines) + "\n")
    third = invoke(*data, "--out", tmp_path / "third", "--from", run)
    assert third.exit_code == 1 and "--update" in third.stderr
    works("--update")
    works("--update", "--redo", "train-cam", "--until", "infer-cam")


def test_photos_that_were_drawn_for_validation_stay_so_in_a_new_run(tmp_path: Path) -> None:
    photos = tmp_path / "photos"

    def add(parts: range) -> None:
        photos.mkdir(exist_ok=True)
        for n in parts:
            Image.new("RGB", (8, 6), (n, 0, 0)).save(photos / f"{n:02}.png")
        rows = [f"{n:02},{('cat', 'dog')[n % 2]}\n" for n in range(parts.stop)]
        (photos / "tags.csv").write_text("id,tags\n" + "".join(rows))

    def drawn(run: Path) -> set[str]:
        return {sample.id for sample in read_index(run / "prepare", "val")}

    def works(out: str, *options: str | Path) -> set[str]:
        done = invoke(
            "run", "--data", photos, "--out", tmp_path / out, "--until", "prepare", *options
        )
        assert done.exit_code == 0, done.output
        return drawn(tmp_path / out)

    add(range(20))
    first = works("first", "--recipe", write_recipe(tmp_path / "recipe.yaml"))
    assert len(first) == 4
    add(range(20, 50))
    alone = works("alone", "--recipe", tmp_path / "recipe.yaml")
    second = works("second", "--from", tmp_path / "first", "--update")
    assert {id for id in second if int(id) < 20} == first
    assert len(second) == 10 and {id for id in alone if int(id) < 20} != first
    assert works("second") == second
    other = ("--from", tmp_path / "first", "--set", "prepare.val_fraction=0.4", "--update")
    run = ("run", "--data", photos, "--until", "prepare", "--out", tmp_path / "third", *other)
    for refused in (invoke(*run), invoke(*run, "--dry-run")):
        assert refused.exit_code == 1
        assert "draw again with --redo prepare" in " ".join(refused.stderr.split())
    assert invoke(*run, "--dry-run", "--redo", "prepare").exit_code == 0
    assert len(works("third", *other, "--redo", "prepare")) == 20
    assert len(works("fourth", "--recipe", tmp_path / "third" / "recipe.yaml")) == 20


def test_files_behind_links_are_copied_unless_there_is_no_end(tmp_path: Path) -> None:
    maps = begun(tmp_path / "run") / "infer-cam/maps"
    maps.rename(tmp_path / "disk")
    maps.symlink_to(tmp_path / "disk")
    (tmp_path / "disk/up").symlink_to(".")
    (tmp_path / "disk/gone").symlink_to("nowhere")
    os.mkfifo(tmp_path / "disk/pipe")
    with ends_soon():
        copy_steps(tmp_path / "run", tmp_path / "new", [CamMaps])
    copied = tmp_path / "new/infer-cam/maps"
    assert not copied.is_symlink() and sorted(contents(copied)) == ["b/a.npz"]
    linked(tmp_path / "disk/links", 20)
    with ends_soon(), pytest.raises(DataError, match="links lead to one folder in more than 100"):
        copy_steps(tmp_path / "run", tmp_path / "other", [CamMaps])
    assert not any((tmp_path / "other").iterdir())
