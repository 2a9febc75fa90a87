"""Trials of an ablation: step folders, order and cost."""

from __future__ import annotations

import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from small_runs import write_photos
from tag2mask.ablation.table import AblationTable, load_table
from tag2mask.ablation.trials import execution_order, list_trials, plan_ablation, step_folders
from tag2mask.artifacts.handles import CamModel, PreparedData, PseudoMaskFolder
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.errors import DataError, RecipeError, RunFolderError
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.sections import Prepare

ROWS = [
    {"name": "CAM", "set": {"train_cam.views.enabled": False}},
    {"name": "alone", "set": {"train_cam.epochs": 9}},
    {"name": "SEAM"},
    {"name": "SEAM + CRF", "set": {"pseudo_masks.crf.enabled": True}},
    {"name": "SEAM + walk", "set": {"walk.enabled": True}},
]


def table(*rows: dict) -> AblationTable:
    shared = {"walk.enabled": False, "train_segmenter.enabled": False}
    return AblationTable.model_validate({"recipe": "tiny", "set": shared, "rows": rows or ROWS})


def folders(*options: str) -> dict[str, Path]:
    found = step_folders(load_recipe("tiny", options, effects=False), Path("steps"))
    return {kind.step: folder for kind, folder in found.items()}


def differing(*options: str) -> list[str]:
    """Return the steps with other folders, or of one recipe only."""
    one, other = folders(), folders(*options)
    return [step for step in {**one, **other} if one.get(step) != other.get(step)]


@pytest.mark.parametrize(
    ("option", "first"),
    [
        ("train_cam.seed=1", "train-cam"),
        ("infer_cam.flip=false", "infer-cam"),
        ("train_affinity.seed=1", "train-affinity"),
        ("walk.beta=2", "walk"),
        ("pseudo_masks.background_threshold=0.3", "pseudo-masks"),
        ("evaluate.behavior=published", "evaluate"),
    ],
)
def test_a_setting_changes_the_folders_of_its_step_and_later_ones(option: str, first: str) -> None:
    steps = list(folders())
    assert differing(option) == steps[steps.index(first) :]


@pytest.mark.parametrize(
    "option",
    [
        "train_cam.log_every=7",
        "train_cam.pcm.block_mib=7",
        "runtime.workers=5",
        "report.photos=9",
        "name=other",
        "tune.photos=3",
    ],
)
def test_settings_without_effect_change_no_folder(option: str) -> None:
    assert differing(option) == []


def test_order_is_first_row_then_rows_that_share_most(tmp_path: Path) -> None:
    trials = execution_order(list_trials(tmp_path, table(), tmp_path / "out", [3, 0]))
    assert [(trial.seed, trial.row.name) for trial in trials] == [
        (seed, name)
        for seed in (3, 0)
        for name in ("CAM", "SEAM", "SEAM + CRF", "SEAM + walk", "alone")
    ]


def test_equal_rows_share_every_folder(tmp_path: Path) -> None:
    rows = [
        {"name": "one"},
        {"name": "same", "set": {"train_cam.log_every": 3}},
        {"name": "other", "set": {"infer_cam.flip": False}},
    ]
    one, same, other = list_trials(tmp_path, table(*rows), tmp_path / "out", [0])
    assert one.folders == same.folders
    assert one.folders[CamModel] == other.folders[CamModel]
    assert one.folders[PseudoMaskFolder] != other.folders[PseudoMaskFolder]


def test_command_gives_the_recipe_of_the_row(tmp_path: Path) -> None:
    rows = [{"name": "SEAM: rescale 0.3", "set": {"train_cam.views.scale": [0.3, 0.3]}}]
    (trial,) = list_trials(
        tmp_path / "my photos", table(*rows), tmp_path / "out", [4], ["train_cam.epochs=2"]
    )
    words = shlex.split(trial.command)
    assert words[:4] == ["tag2mask", "run", "--data", str(tmp_path / "my photos")]
    options = [value for word, value in pairwise(words) if word == "--set"]
    recipe = load_recipe(words[words.index("--recipe") + 1], options, effects=False)
    assert recipe == trial.recipe
    seeds = (recipe.train_cam.seed, recipe.train_affinity.seed, recipe.train_segmenter.seed)
    assert seeds == (4, 4, 4) and recipe.train_cam.epochs == 2
    assert words[-2:] == ["--out", str(tmp_path / "out" / "runs" / "01-seam-rescale-0-3-seed4")]


def test_seeds_of_the_ablation_override_those_of_a_row(tmp_path: Path) -> None:
    rows = [{"name": "a", "set": {"train_cam.seed": 9}}]
    (trial,) = list_trials(tmp_path, table(*rows), tmp_path, [4])
    assert trial.recipe.train_cam.seed == 4


def test_rows_must_have_the_same_runtime(tmp_path: Path) -> None:
    rows = [{"name": "a"}, {"name": "b", "set": {"runtime.threads": 7}}]
    with pytest.raises(RecipeError, match="row 'b' has another runtime"):
        list_trials(tmp_path, table(*rows), tmp_path, [0])
    list_trials(tmp_path, table(rows[0]), tmp_path, [0], ["runtime.threads=7"])


def test_measure_and_supervision_of_a_row(tmp_path: Path) -> None:
    rows = [
        {"name": "maps", "measure": "maps"},
        {"name": "masks"},
        {"name": "network", "set": {"train_segmenter.enabled": True}},
        {
            "name": "bound",
            "set": {"train_segmenter.enabled": True, "train_segmenter.masks": "ground truth"},
        },
    ]
    found = {
        trial.row.name: (trial.measure, trial.learns_from)
        for trial in list_trials(tmp_path, table(*rows), tmp_path, [0])
    }
    assert found == {
        "maps": ("maps", "tags"),
        "masks": ("masks", "tags"),
        "network": ("segmenter", "tags"),
        "bound": ("segmenter", "masks"),
    }


def test_plan_counts_shared_steps_once_and_writes_nothing(tmp_path: Path) -> None:
    photos, out = write_photos(tmp_path / "photos", 4), tmp_path / "out"
    planned = plan_ablation(photos, table(), out, [0, 1])
    assert not out.exists()
    steps = {(found.trial.row.name, found.trial.seed): found.steps for found in planned}
    maps = ("train-cam", "infer-cam", "pseudo-masks", "evaluate")
    assert steps["CAM", 0] == ("prepare", *maps)
    assert steps["SEAM", 0] == steps["SEAM", 1] == maps
    assert steps["SEAM + CRF", 0] == maps[2:]
    assert steps["SEAM + walk", 0] == ("affinity-labels", "train-affinity", "walk", *maps[2:])
    assert all(found.seconds > 0 and found.disk_mib > 0 for found in planned)
    first = planned[0].trial
    with step_folder(PreparedData, first.folders[PreparedData], section=Prepare()) as step:
        step.finish()
    assert plan_ablation(photos, table(), out, [0])[0].steps == maps


def test_plan_checks_data_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data folder"):
        plan_ablation(tmp_path / "nowhere", table(), tmp_path / "out", [0])
    photos = write_photos(tmp_path / "photos", 4)
    with pytest.raises(RunFolderError, match="inside the data"):
        plan_ablation(photos, table(), photos / "out", [0])


def test_rows_of_the_table_paper_share_training(tmp_path: Path) -> None:
    trials = {
        trial.row.name: trial
        for trial in list_trials(tmp_path, load_table("paper"), tmp_path / "out", [0])
    }
    trained = {trials[name].folders[CamModel] for name in ("SEAM", "SEAM + CRF", "SEAM + walk")}
    assert len(trained) == 1
    prepared = {trial.folders[PreparedData] for trial in trials.values()}
    assert len(prepared) == 1


def test_rows_of_the_table_paper_start_from_one_plain_cam_per_head(tmp_path: Path) -> None:
    trials = list_trials(tmp_path, load_table("paper"), tmp_path / "out", [0, 1])
    assert all(trial.recipe.train_cam.warm_start for trial in trials)
    assert len({trial.start for trial in trials}) == 4, "two heads, two seeds"
    cold = list_trials(tmp_path, table(), tmp_path / "out", [0], ["train_cam.warm_start=0"])
    assert {trial.start for trial in cold} == {None}


def test_plan_counts_a_shared_start_once(tmp_path: Path) -> None:
    photos, out = write_photos(tmp_path / "photos", 4), tmp_path / "out"
    warm, cold = (
        {
            found.trial.row.name: found.seconds
            for found in plan_ablation(
                photos,
                table(),
                out,
                [0],
                [f"train_cam.warm_start={epochs}", "train_cam.max_steps=null"],
            )
        }
        for epochs in (50, 0)
    )
    assert warm["CAM"] > cold["CAM"] + 1
    assert warm["SEAM"] == pytest.approx(cold["SEAM"])
