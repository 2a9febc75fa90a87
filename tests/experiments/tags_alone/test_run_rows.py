"""The queue: experiments in order, each once, continued after an interruption, scored as evaluated.

The last test runs experiments of every kind on noise photos.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.experiments.tags_alone import run_rows
from benchmarks.experiments.tags_alone.ensemble import mean_map
from benchmarks.experiments.tags_alone.row_list import CAM, EXPERIMENTS, SEAM, Experiment, Script
from benchmarks.experiments.tags_alone.run_rows import Runs, StepFailedError
from voc_folder import write_voc_folder

from small_runs import SMALL
from tag2mask.artifacts.step_table import STEP_NAMES
from tag2mask.files.json_file import read_json
from tag2mask.maps.cam_map import read_map
from tag2mask.recipe.loading import load_recipe


def flat(values: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += flat(value, f"{prefix}{key}.")
        else:
            found.append(f"{prefix}{key}={json.dumps(value)}")
    return found


SMALLEST = [*flat(SMALL), "evaluate.thresholds=[0.1,0.3,0.5,0.7]"]
AGREEMENT = Script("benchmarks.experiments.tags_alone.agreement", (("base", 0), ("lower", 0)))
ENSEMBLE = Script("benchmarks.experiments.tags_alone.ensemble", (("base", 0), ("base", 1)))
KINDS = {
    one.name: one
    for one in (
        Experiment("base"),
        Experiment(
            "lower",
            "base",
            ("pseudo_masks.threshold_from=fixed", "pseudo_masks.background_threshold=0.2"),
        ),
        Experiment("agreement", "base", masks=AGREEMENT),
        Experiment("ensemble", "base", maps=ENSEMBLE),
        Experiment(
            "encoder",
            "base",
            ("train_segmenter.network.weights={base}/train-cam/model.safetensors",),
        ),
        Experiment("again", "base", keep="pseudo-masks"),
    )
}


def test_every_experiment_stands_behind_what_it_needs() -> None:
    seen: set[str] = set()
    for name, own in EXPERIMENTS.items():
        sources = [one for script in (own.masks, own.maps) if script for one, _ in script.sources]
        needed = {*sources, *([own.base] if own.base is not None else [])}
        assert needed <= seen, name
        assert all(EXPERIMENTS[one].masks is None for one in needed), "it has no pseudo-masks step"
        assert own.keep is None or own.keep in STEP_NAMES
        seen.add(name)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_settings_are_of_the_recipe_and_have_an_effect(name: str, tmp_path: Path) -> None:
    runs = Runs(write_voc_folder(tmp_path / "data"), tmp_path, "tune")
    settings = runs._settings(EXPERIMENTS[name])
    load_recipe(run_rows.RECIPE, [one.replace("{base}", str(tmp_path)) for one in settings])


def test_different_rows_have_different_keys(tmp_path: Path) -> None:
    data = write_voc_folder(tmp_path / "data")
    plain, small = Runs(data, tmp_path, "tune"), Runs(data, tmp_path, "tune", SMALLEST)
    final = Runs(data, tmp_path, "val")
    keys = [
        runs.key(name, seed)
        for runs in (plain, small, final)
        for seed in (0, 1)
        for name in EXPERIMENTS
    ]
    assert max(Counter(keys).values()) == 1
    assert plain.key(SEAM, 0) == Runs(data, tmp_path / "other", "tune").key(SEAM, 0)


class Calls:
    """Commands that were called, which write the manifest of their last step."""

    def __init__(self) -> None:
        self.words: list[list[str]] = []
        self.fail: Callable[[list[str]], bool] = lambda _: False

    def __call__(self, words: Sequence[str]) -> None:
        self.words.append(list(words))
        if self.fail(self.words[-1]):
            raise StepFailedError(" ".join(words))
        if "--until" in words:
            out = Path(words[words.index("--out") + 1]) / words[words.index("--until") + 1]
            out.mkdir(parents=True, exist_ok=True)
            (out / "manifest.json").write_text("{}")

    def names(self) -> list[str]:
        """Of each call, the module and the name of the run that it makes."""
        found = []
        for words in self.words:
            out = words[words.index("--out") + 1] if "--out" in words else words[1]
            found.append(f"{words[0].split('.')[-1]} {Path(out).name.split('-')[0]}")
        return found


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    found = Calls()
    monkeypatch.setattr(run_rows, "_run", found)
    return found


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(write_voc_folder(tmp_path / "data"), tmp_path / "work", "tune", (), KINDS)


def test_what_an_experiment_needs_is_made_first_and_once(calls: Calls, runs: Runs) -> None:
    out = runs.make("agreement", 3)
    assert calls.names() == [
        "tag2mask base",
        "tag2mask lower",
        "agreement agreement",
        "tag2mask agreement",
    ]
    base, lower, script, own = calls.words
    assert {"train_cam.seed=3", "train_affinity.seed=3", "train_segmenter.seed=3"} < set(base)
    assert base[base.index("--recipe") + 1] == "lite0-cpu" and base[-1] == "evaluate"
    assert lower[lower.index("--from") + 1] == str(runs.folder("base", 3))
    assert lower[-2:] == ["--until", "pseudo-masks"], "no network on the masks that are compared"
    assert script[2:] == [f"{runs.folder(name, 3)}/pseudo-masks" for name in ("base", "lower")]
    assert own[own.index("--masks") + 1] == script[1] == f"{out}-masks"
    runs.make("agreement", 3)
    assert len(calls.words) == 4


def test_maps_are_replaced_before_what_is_made_from_them(calls: Calls, runs: Runs) -> None:
    out = runs.make("ensemble", 0)
    steps = [words[-1] if "--until" in words else "maps" for words in calls.words]
    assert steps == ["evaluate", "infer-cam", "infer-cam", "maps", "evaluate"]
    first, script, last = calls.words[1], calls.words[3], calls.words[4]
    assert "--from" in first and "--from" not in last
    assert script[1:] == [str(out), str(runs.folder("base", 0)), str(runs.folder("base", 1))]


def test_a_changed_step_is_not_taken_from_the_base(calls: Calls, runs: Runs) -> None:
    own = Experiment("own code", "base", keep="pseudo-masks", program=("some.module", "--weight"))
    runs.experiments = {**KINDS, own.name: own}
    runs.make(own.name, 0)
    assert [(words[0], words[-1]) for words in calls.words] == [
        ("tag2mask", "evaluate"),
        ("tag2mask", "pseudo-masks"),
        ("some.module", "evaluate"),
    ]
    assert calls.words[-1][1:3] == ["--weight", "run"]


def queue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *more: str) -> list[dict[str, Any]]:
    """Run the queue; return the rows of its log."""
    if not (tmp_path / "data").exists():
        write_voc_folder(tmp_path / "data")
    log = tmp_path / "rows.jsonl"
    words = [str(tmp_path / "data"), str(tmp_path / "work"), "--photos", "val", "--log", str(log)]
    monkeypatch.setattr(sys, "argv", ["run_rows", *words, *more])
    run_rows.main()
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_rows_in_the_log_are_skipped(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[str] = []

    def row(self: Runs, name: str, seed: int) -> dict[str, Any]:
        ran.append(f"{name} {seed}")
        if (name, seed) == (SEAM, 1) and ran.count(f"{SEAM} 1") == 1:
            raise StepFailedError("train-cam")
        return {"name": name, "seed": seed, "key": self.key(name, seed)}

    monkeypatch.setattr(Runs, "row", row)
    few = ("--rows", SEAM, CAM, "--seeds", "0,1")
    with pytest.raises(SystemExit, match=f"failed:\n{SEAM}, seed 1: train-cam".replace("+", r"\+")):
        queue(monkeypatch, tmp_path, *few)
    assert ran == [f"{SEAM} 0", f"{CAM} 0", f"{SEAM} 1", f"{CAM} 1"], "the others continue"
    rows = queue(monkeypatch, tmp_path, *few)
    assert ran[4:] == [f"{SEAM} 1"]
    assert [(row["name"], row["seed"]) for row in rows] == [
        (SEAM, 0),
        (CAM, 0),
        (CAM, 1),
        (SEAM, 1),
    ]
    queue(monkeypatch, tmp_path, "--rows", SEAM, "--set", "train_cam.epochs=1")
    assert ran[5:] == [f"{SEAM} 0"], "other settings are another row"
    queue(monkeypatch, tmp_path, "--rows", CAM, "--seeds", "2", "--minutes", "-1")
    assert len(ran) == 6, "no time is left"


@pytest.mark.slow
def test_every_kind_of_experiment_is_run_and_scored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data, listed = write_voc_folder(tmp_path / "data"), tmp_path / "listed.txt"
    listed.write_text("photo_02\nphoto_04\nphoto_06\n")
    log, work = tmp_path / "rows.jsonl", tmp_path / "work"
    words = [str(data), str(work), "--tune-photos", str(listed), "--log", str(log)]
    words += [word for setting in SMALLEST for word in ("--set", setting)]
    monkeypatch.setattr(run_rows, "EXPERIMENTS", KINDS)
    monkeypatch.setattr(sys, "argv", ["run_rows", *words])
    run_rows.main()
    text = log.read_text()
    rows = {row["name"]: row for row in map(json.loads, text.splitlines())}
    assert list(rows) == list(KINDS)
    run_rows.main()
    assert log.read_text() == text

    runs = Runs(work / "tune-data", work, "tune", SMALLEST, KINDS)
    for name, row in rows.items():
        own = read_json(runs.folder(name, 0) / "evaluate/evaluation.json")
        assert row["photos"] == "6/3" and row["tags"] == {"masks": "known", "network": "no"}
        for split, scores in zip(("train", "tune"), own["splits"], strict=True):
            for what in ("masks", "network"):
                wanted = scores[what]["miou"]
                assert row[split][what]["miou"] == pytest.approx(100 * wanted, abs=0.006), name
            assert row[split]["masks"]["labeled"] == 100 or name == "agreement"
        assert row["minutes"] >= 0 and row["commit"] and row["machine"]["cores"] >= 1
    assert "over_base" not in rows["base"]
    for name in set(rows) - {"base", "agreement"}:
        gain, low, high = rows[name]["over_base"]["network"]["tune"]
        lead = rows[name]["tune"]["network"]["miou"] - rows["base"]["tune"]["network"]["miou"]
        assert gain == pytest.approx(lead, abs=0.02) and low <= gain + 0.02 and gain <= high + 0.02
    assert set(rows["lower"]["over_base"]["masks"]) == {"train", "tune"}
    assert rows["lower"]["over_base"]["masks_at_best"] == {
        "train": [0, 0, 0],
        "tune": [0, 0, 0],
    }, "the same maps"
    assert rows["agreement"]["train"]["maps"] == [], "given masks have none"
    assert rows["agreement"]["over_base"]["masks_at_best"] == {}
    assert rows["again"]["tune"] == rows["base"]["tune"], "the same code and seed"
    sources = [runs.folder("base", seed) / "infer-cam/maps" for seed in (0, 1)]
    for file in sources[0].iterdir():
        wanted = mean_map([read_map(source / file.name) for source in sources]).as_stored()
        found = read_map(runs.folder("ensemble", 0) / "infer-cam/maps" / file.name)
        np.testing.assert_array_equal(found.scores, wanted.scores)
    walked = [runs.folder(name, 0) / "walk/maps/photo_01.npz" for name in ("base", "ensemble")]
    assert walked[0].read_bytes() != walked[1].read_bytes(), "made from the means"
