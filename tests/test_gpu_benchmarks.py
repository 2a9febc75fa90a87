"""The benchmarks for a GPU run on a CPU, at the smallest sizes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import torch
from benchmarks import bare_networks
from benchmarks.gpu.__main__ import chosen_recipe, main, table
from benchmarks.gpu.busy import BusyShare
from benchmarks.gpu.comparisons import COMPARISONS
from benchmarks.gpu.steps import fewer_photos, seconds_per_step

from small_runs import write_photos
from tag2mask.data.inventory import Inventory, InventoryEntry
from tag2mask.recipe.loading import load_recipe

TRAININGS = {f"gpu_train_{name}_step" for name in ("cam", "affinity", "segmenter")}
PHOTOS = {
    f"gpu_{step}_photos"
    for step in ("infer_cam", "affinity_labels", "walk", "pseudo_masks", "predict")
}
GRAPHED = {name for name in COMPARISONS if "graphed" in name}
ROWS = TRAININGS | PHOTOS | set(COMPARISONS)
CPU = torch.device("cpu")


@pytest.mark.slow
def test_every_row_is_measured_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, out = write_photos(tmp_path / "photos", masks=True), tmp_path / "gpu.json"
    main([str(photos), "--toy", "--out", str(out)])
    captured = capsys.readouterr()
    written = json.loads(out.read_text())
    assert written["toy"] and written["device"] == "cpu" and written["recipe"] == "lite2-gpu"
    rows = written["rows"]
    assert set(rows) == ROWS - GRAPHED
    for name in TRAININGS | PHOTOS:
        assert rows[name]["ours"] > 0 and rows[name]["gpu_busy"] is None, name
        assert rows[name]["unit"] == ("s per step" if name in TRAININGS else "photos per second")
    for name in set(COMPARISONS) - GRAPHED:
        assert rows[name]["ratio"] == pytest.approx(rows[name]["ours"] / rows[name]["other"]), name
    for name in GRAPHED:
        assert f"{name} is left out: a CUDA graph needs a GPU" in captured.err
    assert "gpu_train_cam_step" in captured.out


def test_the_docs_have_a_line_for_every_row() -> None:
    page = Path(__file__).parents[1] / "docs" / "reference" / "benchmarks.md"
    described = [line for line in page.read_text().splitlines() if line.startswith("| `gpu_")]
    assert {line.split("`")[1] for line in described} == ROWS


def test_a_folder_without_photos_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "none"), "--toy", "--out", str(tmp_path / "gpu.json")])
    assert stopped.value.code == 1
    assert "none" in capsys.readouterr().err
    assert not (tmp_path / "gpu.json").exists()


def test_the_networks_are_those_of_the_recipe() -> None:
    usual, short = load_recipe("lite2-gpu"), chosen_recipe("lite2-gpu", 60, toy=False)
    for section in ("train_cam", "train_affinity", "train_segmenter"):
        before, after = getattr(usual, section), getattr(short, section)
        assert after.max_steps == 60
        for key in ("crop", "batch_size", "precision", "optimizer"):
            assert getattr(after, key) == getattr(before, key)
    assert short.infer_cam == usual.infer_cam and short.predict == usual.predict
    assert (short.walk.steps, short.walk.long_side) == (usual.walk.steps, usual.walk.long_side)


def test_compiled_networks_compute_the_same() -> None:
    """The forward pass that is compiled is the one that is compared with."""
    section = chosen_recipe("lite2-gpu", 1, toy=True).train_segmenter
    seen: list[torch.Tensor] = []

    def watched(forward: bare_networks.Forward) -> bare_networks.Forward:
        def run(image: torch.Tensor) -> torch.Tensor:
            seen.append(forward(image))
            return seen[-1]

        return run

    bare_networks.segmenter_step(section, CPU, watched)()
    (logits,) = seen
    assert tuple(logits.shape) == (2, 21, 64, 64) and logits.requires_grad


def test_photos_are_chosen_evenly_from_each_split() -> None:
    entries = tuple(
        InventoryEntry(f"{split}{i}", split, ("cat",), f"{split}{i}.jpg", "1-1")
        for split, count in (("train", 10), ("val", 3))
        for i in range(count)
    )
    inventory = Inventory("csv", Path("photos"), ("cat",), entries, drawn=3)
    found = fewer_photos(inventory, 4)
    assert [entry.id for entry in found.entries] == [
        *(f"train{i}" for i in (0, 3, 6, 9)),
        *(f"val{i}" for i in range(3)),
    ]
    assert fewer_photos(inventory, 2).drawn == 2
    assert fewer_photos(inventory, 100).entries == entries


def test_seconds_per_step_leave_out_the_start(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_text("step,photos_per_second\n10,1\n20,32\n30,64\n40,32\n")
    assert seconds_per_step(tmp_path, 16) == 0.5
    (tmp_path / "losses.csv").write_text("step,photos_per_second\n2,8\n")
    assert seconds_per_step(tmp_path, 16) == 2.0


def test_the_busy_share_is_the_mean_after_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(
        '#!/bin/sh\necho "$@" > "$0.arguments"\n'
        "for i in 0 0 80 '[N/A]' 100 60 100 60 100 60; do echo \"$i\"; done\nexec sleep 60\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with BusyShare(3) as busy:
        deadline = time.monotonic() + 60
        while len(busy._samples) < 9 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert busy.share == pytest.approx((0.8 + 1 + 0.6 + 1 + 0.6 + 1 + 0.6) / 7)
    assert "--id=3" in (tmp_path / "nvidia-smi.arguments").read_text()


def test_without_a_gpu_or_its_program_no_share_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BusyShare(None) as busy:
        pass
    assert busy.share is None
    monkeypatch.setenv("PATH", str(tmp_path))
    with BusyShare(0) as busy:
        pass
    assert busy.share is None


def test_the_table_shows_figures_and_comparisons() -> None:
    shown = table(
        {
            "gpu_a": {"ours": 0.125, "unit": "s per step", "gpu_busy": 0.42},
            "gpu_b": {"ours": 1.0, "other": 4.0, "ratio": 0.25, "unit": "s"},
        }
    )
    assert [list(column.cells) for column in shown.columns] == [
        ["gpu_a", "gpu_b"],
        ["0.125", "1"],
        ["", "4"],
        ["", "0.25"],
        ["s per step", "s"],
        ["42 %", ""],
    ]
