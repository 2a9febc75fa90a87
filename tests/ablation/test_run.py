"""Ablation on noise photos: shared steps, interruptions, failing rows, and scores as evaluated."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import Result

from small_runs import SMALL, interrupt_when, invoke, kill_when, start, write_photos, write_recipe
from tag2mask.ablation.resampled import trial_resampled
from tag2mask.ablation.table import load_table
from tag2mask.ablation.trials import list_trials
from tag2mask.artifacts.handles import CamMaps, Evaluation, PreparedData, WalkedMaps
from tag2mask.data.index import read_index, read_mask_paths
from tag2mask.data.masks import read_mask
from tag2mask.errors import WeightsError
from tag2mask.files.json_file import read_json
from tag2mask.maps.background_threshold import labels_from_scores
from tag2mask.maps.cam_map import read_map
from tag2mask.metrics.bootstrap import ResampledTallies
from tag2mask.metrics.confusion import Confusion
from tag2mask.recipe.loading import RECIPE_HEAD

SEEDS = (0, 1)


@dataclass(frozen=True)
class Place:
    """Photos with masks, the small recipe, and a folder for an ablation."""

    root: Path

    @property
    def out(self) -> Path:
        return self.root / "out"

    def words(self, *options: str | Path, table: str | Path = "tiny") -> list[str | Path]:
        return [
            "ablate",
            "--data",
            self.root / "photos",
            "--out",
            self.out,
            "--table",
            table,
            "--recipe",
            self.root / "small.yaml",
            *options,
        ]

    def ablate(self, *options: str | Path, table: str | Path = "tiny") -> Result:
        return invoke(*self.words(*options, table=table))

    def scores(self) -> dict[str, Any]:
        return read_json(self.out / "ablation.json")

    def table(self, *rows: dict[str, Any]) -> Path:
        path = self.root / "table.yaml"
        shared = {"walk.enabled": False, "train_segmenter.enabled": False}
        path.write_text(yaml.safe_dump({"set": shared, "rows": list(rows)}))
        return path


def place(root: Path, *, masks: bool = True) -> Place:
    write_photos(root / "photos", 8, masks=masks)
    write_recipe(root / "small.yaml")
    return Place(root)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Run the table ``tiny`` with two seeds."""
    found = place(tmp_path_factory.mktemp("ablation"))
    result = found.ablate("--seeds", "0,1")
    assert result.exit_code == 0, result.output
    assert "6 rows, seeds 0, 1: 12 done." in result.stdout
    lines = result.stdout.splitlines()
    understood = ["layout", "photos", "classes", "masks", "notes"]
    assert [line.split(":")[0] for line in lines[:5]] == understood
    assert sum(line.startswith("layout: ") for line in lines) == 1, "rows share the data"
    return found


@pytest.fixture
def small(tmp_path: Path) -> Place:
    return place(tmp_path)


def steps(at: Place, name: str) -> list[Path]:
    return sorted((at.out / "steps").glob(f"{name}-????????????"))


def rows_of(scores: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in scores["rows"]}


def test_shared_steps_have_one_folder(done: Place) -> None:
    counts = {
        name: len(steps(done, name))
        for name in (
            "prepare",
            "train-cam",
            "infer-cam",
            "affinity-labels",
            "train-affinity",
            "walk",
            "pseudo-masks",
            "train-segmenter",
            "predict",
            "evaluate",
        )
    }
    assert counts == {
        "prepare": 1,
        "train-cam": 4,
        "infer-cam": 4,
        "affinity-labels": 2,
        "train-affinity": 2,
        "walk": 2,
        "pseudo-masks": 8,
        "train-segmenter": 4,
        "predict": 4,
        "evaluate": 12,
    }


def test_all_outputs_are_written(done: Place) -> None:
    assert {path.name for path in done.out.iterdir()} == {
        "ablation.json",
        "table.md",
        "table.tex",
        "plot.png",
        "index.html",
        "resampled",
        "steps",
    }
    page = (done.out / "index.html").read_text()
    assert "SEAM + walk" in page and "<svg" in page
    assert (done.out / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_mean_and_spread_agree_with_the_evaluations(done: Place) -> None:
    found: dict[tuple[str, str], list[float]] = {}
    rows = rows_of(done.scores())
    for name, row in rows.items():
        for trial in row["trials"]:
            own = {(value["split"], value["measure"]): value for value in trial["measured"]}
            for split in evaluation_of(done, name, trial["seed"])["splits"]:
                masks = own[split["split"], "masks"]
                assert masks["miou"] == split["masks"]["miou"]
                assert masks["boundary_miou"] == split["masks"]["boundary_miou"]
                assert masks["background_threshold"] == split["background_threshold"]
                last = split["stages"][-1]["used"]["miou"]
                assert own[split["split"], row["measure"]]["miou"] == pytest.approx(last)
                found.setdefault((name, split["split"]), []).append(last)
    for (name, split), values in found.items():
        (own,) = (
            summary
            for summary in rows[name]["summaries"]
            if (summary["split"], summary["measure"]) == (split, rows[name]["measure"])
        )
        assert own["miou"] == {
            "mean": pytest.approx(np.mean(values)),
            "n": len(SEEDS),
            "spread": pytest.approx(np.std(values, ddof=1)),
        }
        base = "segmenter on SEAM" if name.startswith("segmenter") else "CAM"
        if name == base:
            assert own["over_base"] is own["over_previous"] is None
            continue
        gains = np.subtract(values, found[base, split])
        over = own["over_base"]
        assert over["row"] == base
        assert over["miou"]["mean"] == pytest.approx(gains.mean())
        assert over["miou"]["spread"] == pytest.approx(gains.std(ddof=1))
        assert (over["miou_interval"] is None) == (split == "val"), "there are two photos"


def test_rows_are_compared_with_the_row_before(done: Place) -> None:
    before = {}
    for row in done.scores()["rows"]:
        own = next(one for one in row["summaries"] if one["measure"] == row["measure"])
        before[row["name"]] = own["over_previous"] and own["over_previous"]["row"]
    assert before == {
        "CAM": None,
        "SEAM": "CAM",
        "SEAM + CRF": "SEAM",
        "SEAM + walk": "SEAM + CRF",
        "segmenter on SEAM": None,
        "segmenter on ground truth": "segmenter on SEAM",
    }


def test_differences_at_the_best_thresholds_have_intervals(done: Place) -> None:
    """The resampled mIoU of a trial, against masks made at the best thresholds."""
    table = load_table("tiny").model_copy(update={"recipe": str(done.root / "small.yaml")})
    trials = list_trials(done.root / "photos", table, done.out, SEEDS)
    trial = next(one for one in trials if one.row.name == "SEAM + walk" and one.seed == 1)
    kept = done.out / f"resampled/{trial.folders[Evaluation].name}.json"
    time = kept.stat().st_mtime_ns
    found = trial_resampled(trial.folders, kept)
    assert kept.stat().st_mtime_ns == time, "computed once"
    prepared = PreparedData.open(trial.folders[PreparedData])
    masks = read_mask_paths(prepared.path)
    scores = read_json(trial.folders[Evaluation] / "evaluation.json")
    assert set(found.best) == {
        (split, stage) for split in ("train", "val") for stage in ("SEAM", "SEAM + walk")
    }
    for split in scores["splits"]:
        for stage, kind in zip(split["stages"], (CamMaps, WalkedMaps), strict=True):
            threshold = stage["best"]["background_threshold"]
            counts = ResampledTallies(3)
            for sample in read_index(prepared.path, split["split"]):
                own = read_map(trial.folders[kind] / "maps" / f"{sample.id}.npz")
                labels = labels_from_scores(own.full_scores(), own.tags, threshold, own.size)
                confusion = Confusion.empty(3)
                confusion.add(read_mask(masks[sample.id], 3), labels)
                counts.add(sample.id, confusion.cells())
            wanted, values = counts.miou(), found.best[split["split"], stage["name"]]
            np.testing.assert_allclose(values, wanted, atol=1e-12)
    own = rows_of(done.scores())["SEAM + walk"]["summaries"]
    masks_of = {one["split"]: one["over_base"] for one in own if one["measure"] == "masks"}
    low, high = masks_of["train"]["best_miou_interval"]
    assert -1 <= low < high <= 1
    kept.write_text("{}")
    again = trial_resampled(trial.folders, kept)
    for place, values in again.best.items():
        np.testing.assert_array_equal(values, found.best[place])


def test_rows_trained_on_masks_are_marked(done: Place) -> None:
    rows = rows_of(done.scores())
    assert {name: row["learns_from"] for name, row in rows.items() if name != "CAM"} == {
        "SEAM": "tags",
        "SEAM + CRF": "tags",
        "SEAM + walk": "tags",
        "segmenter on SEAM": "tags",
        "segmenter on ground truth": "masks",
    }
    assert "masks used" in (done.out / "index.html").read_text()


def evaluation_of(at: Place, row: str, seed: int) -> dict[str, Any]:
    """Return the evaluation of a row and seed, found by its stages and settings."""
    stages = {"SEAM + CRF": ["SEAM", "SEAM + CRF"], "SEAM + walk": ["SEAM", "SEAM + walk"]}
    names = ["SEAM", "segmenter"] if "segmenter" in row else stages.get(row, [row])
    chosen = []
    for folder in steps(at, "evaluate"):
        scores = read_json(folder / "evaluation.json")
        network = origin(folder, "train-segmenter")
        kind = "ground truth" if "ground truth" in row else "pseudo"
        if (
            [stage["name"] for stage in scores["splits"][0]["stages"]] == names
            and origin(folder, "train-cam")["seed"] == seed
            and (network is None or network["masks"] == kind)
        ):
            chosen.append(scores)
    (found,) = chosen
    return found


def origin(folder: Path, step: str) -> dict[str, Any] | None:
    """Return the settings of a step that a folder depends on, directly or not."""
    record = read_json(folder / "manifest.json")
    if record["step"] == step:
        return record["section"]
    for read in (record["coverage"] | record["inputs"]).values():
        if read["path"] is not None and (found := origin(folder / read["path"], step)):
            return found
    return None


def test_command_of_a_row_gives_the_same_scores(done: Place) -> None:
    trial = rows_of(done.scores())["SEAM + CRF"]["trials"][1]
    words = shlex.split(trial["command"])
    out = done.root / "copied"
    words[words.index("--out") + 1] = str(out)
    assert invoke(*words[1:]).exit_code == 0
    assert read_json(out / "evaluate" / "evaluation.json") == evaluation_of(done, "SEAM + CRF", 1)


def test_rows_share_the_plain_cam_of_ordinary_runs(small: Place) -> None:
    table = small.table({"name": "ER", "set": {"train_cam.pcm.enabled": False}}, {"name": "SEAM"})
    result = small.ablate("--set", "train_cam.warm_start=1", table=table)
    assert result.exit_code == 0, result.output
    started = [
        read_json(folder / "manifest.json")["section"]["warm_start"]
        for folder in steps(small, "train-cam")
    ]
    assert sorted(started) == [0, 1, 1]
    for name in ("ER", "SEAM"):
        words = shlex.split(rows_of(small.scores())[name]["trials"][0]["command"])
        out = small.root / name
        words[words.index("--out") + 1] = str(out)
        assert invoke(*words[1:]).exit_code == 0
        assert read_json(out / "evaluate" / "evaluation.json") in [
            read_json(folder / "evaluation.json") for folder in steps(small, "evaluate")
        ]


def test_a_failing_plain_cam_is_tried_once(small: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def fail(*_: Any, name: str, **__: Any) -> None:
        tried.append(name)
        raise WeightsError("the loss became nan")

    monkeypatch.setattr("tag2mask.steps.train_cam._train", fail)
    table = small.table({"name": "ER", "set": {"train_cam.pcm.enabled": False}}, {"name": "SEAM"})
    result = small.ablate("--set", "train_cam.warm_start=1", table=table)
    assert result.exit_code == 1
    assert tried == ["train-cam, warm start"]
    messages = [row["trials"][0]["message"] for row in rows_of(small.scores()).values()]
    assert messages == ["the loss became nan"] * 2


def test_running_again_changes_nothing(done: Place) -> None:
    before = {path: path.stat().st_mtime_ns for path in (done.out / "steps").rglob("*")}
    first = done.scores()
    result = done.ablate("--seeds", "0,1")
    assert result.exit_code == 0, result.output
    assert {path: path.stat().st_mtime_ns for path in (done.out / "steps").rglob("*")} == before
    assert done.scores() == first
    planned = done.ablate("--seeds", "0,1", "--dry-run")
    assert "Nothing to do" in planned.stdout


def test_a_row_with_equal_settings_costs_nothing(done: Place) -> None:
    table = done.table(
        {
            "name": "the baseline",
            "set": {"train_cam.pcm.enabled": False, "train_cam.views.enabled": False},
        },
        {"name": "SEAM again", "set": {"train_cam.log_every": 5}},
    )
    planned = done.ablate("--dry-run", table=table)
    assert planned.exit_code == 0
    assert "SEAM again" in planned.stdout and "Nothing to do" in planned.stdout


@pytest.mark.parametrize("stop", [kill_when, interrupt_when])
def test_an_interrupted_ablation_resumes_with_the_same_scores(
    done: Place, small: Place, stop: Callable[..., None]
) -> None:
    stop(
        start(*small.words("--rows", "CAM,SEAM")),
        lambda: (
            any((folder / "items.jsonl").is_file() for folder in steps(small, "infer-cam"))
            and (small.out / "ablation.json").is_file()
        ),
    )
    states = [row["trials"][0]["state"] for row in small.scores()["rows"]]
    assert states == ["done", "waiting"]
    trained = {
        folder: (folder / "manifest.json").stat().st_mtime_ns
        for folder in steps(small, "train-cam")
        if (folder / "manifest.json").is_file()
    }
    assert small.ablate("--rows", "CAM,SEAM").exit_code == 0
    assert all(
        (folder / "manifest.json").stat().st_mtime_ns == time for folder, time in trained.items()
    ), "finished trainings are not repeated"
    ours, theirs = rows_of(small.scores()), rows_of(done.scores())
    for name in ("CAM", "SEAM"):
        assert ours[name]["trials"][0]["measured"] == theirs[name]["trials"][0]["measured"]


def test_other_rows_continue_after_a_failure(small: Place) -> None:
    broken = {"train_cam.init_from": "nowhere.safetensors"}
    table = small.table(
        {"name": "SEAM"},
        {"name": "broken", "set": broken},
        {"name": "broken + CRF", "set": {**broken, "pseudo_masks.crf.enabled": True}},
    )
    result = small.ablate(table=table)
    assert result.exit_code == 3, result.output
    assert "Traceback" not in result.output
    rows = rows_of(small.scores())
    assert [rows[name]["trials"][0]["state"] for name in rows] == ["done", "failed", "failed"]
    assert "nowhere.safetensors" in rows["broken"]["trials"][0]["message"]
    assert rows["broken + CRF"]["trials"][0]["message"] == rows["broken"]["trials"][0]["message"]
    assert "nowhere.safetensors" in (small.out / "index.html").read_text()
    assert small.ablate("--rows", "broken", table=table).exit_code == 1, "no row is done"


def test_a_row_with_an_invalid_late_network_is_not_started(small: Place) -> None:
    words = "deeplabv3plus takes crops that are multiples"
    table = small.table(
        {
            "name": "late",
            "set": {
                "train_segmenter.enabled": True,
                "train_segmenter.crop": 100,
                "train_cam.seed": 7,
            },
        },
        {"name": "SEAM"},
    )
    result = small.ablate(table=table)
    assert result.exit_code == 3
    assert f"row 'late' will fail: train_segmenter: {words}" in " ".join(result.output.split())
    rows = rows_of(small.scores())
    assert [rows[name]["trials"][0]["state"] for name in ("late", "SEAM")] == ["failed", "done"]
    assert words in rows["late"]["trials"][0]["message"]
    assert len(steps(small, "train-cam")) == 1


def test_a_row_with_a_missing_list_of_ids_is_not_started(small: Place) -> None:
    table = small.table(
        {"name": "late", "set": {"train_cam.seed": 7, "evaluate.leave_out": "nowhere.txt"}},
        {"name": "SEAM"},
    )
    result = small.ablate(table=table)
    assert result.exit_code == 3
    assert "row 'late' will fail: no list of ids 'nowhere.txt'" in " ".join(result.output.split())
    assert len(steps(small, "train-cam")) == 1


def test_a_finished_row_does_not_need_its_weights(
    small: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert small.ablate("--rows", "segmenter on SEAM").exit_code == 0

    def refuse(*_: object, **__: object) -> None:
        raise WeightsError("gone", where="weights", fix="Bring them back.")

    monkeypatch.setattr("tag2mask.steps.trainers.trial_networks.try_network", refuse)
    assert small.ablate("--rows", "segmenter on SEAM").exit_code == 0


def test_skipped_photos_are_reported(small: Place) -> None:
    photo = next((small.root / "photos" / "a").glob("*.png"))
    photo.unlink()
    result = small.ablate("--rows", "SEAM", "--skip-bad")
    assert result.exit_code == 3, result.output
    assert f"a/{photo.stem}" in result.stderr


def test_changed_data_needs_another_folder(small: Place) -> None:
    assert small.ablate("--rows", "SEAM").exit_code == 0
    table = small.root / "photos" / "tags.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    result = small.ablate("--rows", "SEAM")
    assert result.exit_code == 1
    assert "Give another --out" in result.stderr and "--update" not in result.stderr


def test_data_without_masks_is_an_error(tmp_path: Path) -> None:
    at = place(tmp_path, masks=False)
    result = at.ablate()
    assert result.exit_code == 1
    assert "no photo has a mask" in result.stderr
    assert not steps(at, "train-cam")


@pytest.mark.parametrize("name", ["index.html", "table.tex", "table.md", "plot.png"])
def test_other_files_are_not_overwritten(tmp_path: Path, name: str) -> None:
    at = place(tmp_path)
    at.out.mkdir()
    (at.out / name).write_text("mine")
    result = at.ablate()
    assert result.exit_code == 1
    assert f"the folder holds {name}, which no ablation wrote" in result.stderr
    assert [path.name for path in at.out.iterdir()] == [name]


def test_the_folder_of_a_run_is_an_error(small: Place) -> None:
    small.out.mkdir()
    (small.out / "recipe.yaml").write_text(f"{RECIPE_HEAD}\nname: mine\n")
    result = small.ablate()
    assert result.exit_code == 1
    assert "holds a run, not an ablation" in " ".join(result.output.split())
    assert [path.name for path in small.out.iterdir()] == ["recipe.yaml"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seeds", "0,0"], "not a list of seeds"),
        (["--seeds", "1,x"], "not a list of seeds"),
        (["--seeds", "-1"], "not a list of seeds"),
        (["--rows", "SAEM"], "did you mean 'SEAM'"),
        (["--set", "train_cam.epoch=3"], "unknown key 'train_cam.epoch'"),
        (["--recipe", "lite9"], "no recipe 'lite9'"),
    ],
)
def test_errors_name_a_wrong_option(tmp_path: Path, options: list[str], words: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    result = Place(tmp_path).ablate(*options)
    assert result.exit_code == 1
    assert words in result.stderr and "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_scores_have_their_basis(done: Place) -> None:
    scores = done.scores()
    assert (scores["table"], scores["seeds"]) == ("tiny", list(SEEDS))
    summary = rows_of(scores)["SEAM + walk"]["summaries"]
    walked = next(s for s in summary if (s["split"], s["measure"]) == ("val", "walk"))
    assert (walked["photos"], walked["tag_source"], walked["background_source"]) == (
        2,
        "known",
        "walk",
    )
    assert json.loads(json.dumps(scores)) == scores
    assert "estimated" in (done.out / "table.md").read_text()
