"""The page "Every week": its commands in order, on small photos, and a new class afterwards."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from small_runs import invoke, write_recipe
from tag2mask.artifacts.handles import CamModel, SegmenterModel
from tag2mask.seam.model import load_seam
from test_docs import ROOT, fences

PAGE = ROOT / "docs" / "how-to" / "every-week.md"
KINDS = ("scratch; pit", "scratch; pit", "scratch", "pit", "scratch; pit", "")
COLORS = {"scratch": (230, 40, 40), "pit": (40, 230, 40), "dent": (40, 40, 230)}


def add_week(week: int, parts: range, *, also: Mapping[int, str] | None = None) -> None:
    """Write the photos of some parts and their table; ``also`` has parts with another defect."""
    rng = np.random.default_rng(week)
    Path("shots").mkdir(exist_ok=True)
    rows = ["part,defects"]
    for part in parts:
        defects = (also or {}).get(part, KINDS[part % len(KINDS)])
        pixels = rng.integers(0, 20, (48 + 8 * (part % 3), 64, 3), np.uint8)
        for place, name in enumerate(filter(None, defects.split("; "))):
            pixels[8:, 32 * place : 24 + 32 * place] += np.array(COLORS[name], np.uint8)
        Image.fromarray(pixels).save(f"shots/{part:03}.png")
        rows.append(f"{part:03},{defects}")
    Path(f"week{week}.csv").write_text("\n".join(rows) + "\n")


def calls() -> list[list[str]]:
    """Return the page's commands in order."""
    text = "\n".join(fences(PAGE, "sh")).replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in text.splitlines() if line]


def works(*words: str | Path) -> str:
    done = invoke(*words)
    assert done.exit_code == 0, f"{words}\n{done.output}"
    return " ".join(done.output.split())


def contents(run: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(run).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in run.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_the_routine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    add_week(1, range(18))
    recipe = write_recipe(
        tmp_path / "small.yaml",
        train_cam__epochs=12,
        train_cam__optimizer__lr=0.003,
        train_cam__freeze_batch_norm=False,
        affinity_labels__threshold_from="fixed",
        pseudo_masks__threshold_from="fixed",
    )
    first, week1, *rest = calls()
    works(*first)
    works(*week1, "--recipe", recipe)
    before = contents(Path("runs/week1"))
    add_week(2, range(18, 30))
    printed = [works(*words) for words in rest]
    assert [words[0] for words in rest] == ["data", "data", "status", "run", "run", "run"]
    assert "12 photos added since" in printed[2]
    assert re.search(r"train-cam\W+skip", printed[3]) and "Estimated" in printed[3]
    assert contents(Path("runs/week1")) == before
    for model in (CamModel, SegmenterModel):
        files = [
            Path("runs") / run / model.step / "model.safetensors" for run in ("week1", "week2")
        ]
        assert files[0].samefile(files[1]), "kept"
    for name, made in (("week2", 30), ("week2-trained", 30)):
        assert len(list((Path("runs") / name / "pseudo-masks" / "masks").rglob("*.png"))) == made
    report = Path("runs/week2/report/index.html").read_text(encoding="utf-8")
    assert 'id="history"' in report and "18 photos are in all runs, 12 only in" in report

    # The kept networks don't need those that they started from.
    last, out = Path("runs/week2-trained"), Path("runs/week4")
    Path("runs/week2").rename("away")
    add_week(3, range(30, 32))
    works("data", "import", "week3.csv", "--photos", "shots", "--out", "data")
    for _ in range(2):
        works("run", "--data", "data", "--out", last, "--update", "--dry-run")
        works("run", "--data", "data", "--out", last, "--update")

    # A new class: refused before anything changes, then trained on, by class name.
    add_week(4, range(32, 38), also={33: "dent", 34: "dent", 36: "dent"})
    works("data", "import", "week4.csv", "--photos", "shots", "--out", "data", "--yes")
    before = contents(Path("runs"))
    for options in ((), ("--update",), ("--dry-run",), ("--update", "--dry-run")):
        refused = invoke("run", "--data", "data", "--out", last, *options)
        message = " ".join(refused.stderr.split())
        assert refused.exit_code == 1
        assert "don't know the data's classes: other classes (new dent)" in message
        assert "--redo train-cam` and --update (the steps took" in message
    again = ("run", "--data", "data", "--from", last, "--out", out, "--update")
    assert invoke(*again).exit_code == 1 and not out.exists()
    trained_on = [
        word
        for section, step in (("train_cam", "train-cam"), ("train_segmenter", "train-segmenter"))
        for word in ("--set", f"{section}.init_from={last / step / 'model.safetensors'}")
    ]
    for options in (("--dry-run",), ()):
        printed = [works(*again, *trained_on, *options)]
        fresh = "init_from: classes that it doesn't know start fresh: dent"
        assert printed[0].count(fresh) >= 2, "both networks"
    assert {
        name: found for name, found in contents(Path("runs")).items() if name in before
    } == before
    net, spec = load_seam(out / "train-cam" / "model.safetensors")
    assert spec.classes == ("pit", "scratch", "dent")
    assert net.head.weight.shape[0] == 4
