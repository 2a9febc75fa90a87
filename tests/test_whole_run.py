"""Complete runs by one command: every step once, and changes redo only what they affect."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from small_runs import NAMES, invoke, read_table, recipe, write_photos, write_recipe, write_table
from tag2mask.artifacts.handles import (
    CamMaps,
    Evaluation,
    PreparedData,
    PseudoMaskFolder,
    ReportPage,
)
from tag2mask.artifacts.step_table import STEP_NAMES
from tag2mask.classes import IGNORE
from tag2mask.data.masks import read_mask
from tag2mask.pipeline import run as pipeline
from tag2mask.pipeline.status import status

STEPS = list(STEP_NAMES)


def run(root: Path, *options: str) -> Result:
    return invoke(
        "run",
        "--data",
        root / "photos",
        "--recipe",
        root / "recipe.yaml",
        "--out",
        root / "run",
        *options,
    )


def manifests(out: Path) -> dict[str, str]:
    return {step: (out / step / "manifest.json").read_text() for step in STEPS}


def stamps(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    write_photos(root / "photos", 16, masks=True)
    write_recipe(root / "recipe.yaml")
    result = run(root)
    assert result.exit_code == 0, result.output
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run with its data, in another folder."""
    shutil.copytree(finished, tmp_path / "moved", copy_function=shutil.copy2)
    return tmp_path / "moved"


@pytest.mark.smoke
def test_every_step_writes_its_folder(finished: Path) -> None:
    out = finished / "run"
    assert {path.name for path in out.iterdir()} == {*STEPS, "recipe.yaml"}
    assert [state.folder.state for state in status(out)] == ["fresh"] * len(STEPS)
    masks = sorted((out / "pseudo-masks").rglob("*.png"))
    assert len(masks) == 16
    assert all(set(read_mask(path, 3).ravel()) <= {0, 1, 2, 3} for path in masks)
    scores = Evaluation.open(out / "evaluate").manifest.metrics
    assert set(scores) == {"train", "val"}
    assert all(0 <= found["miou"] <= 1 for found in scores.values())
    assert "<html" in (out / "report" / "index.html").read_text()[:500]


def test_the_same_command_again_does_nothing(root: Path) -> None:
    before = stamps(root / "run")
    assert run(root).exit_code == 0
    after = stamps(root / "run")
    # Data and run were moved: only prepare writes the new place of the photos.
    changed = {name for name in after if after[name] != before[name]}
    assert "prepare/source.json" in changed
    assert all(name.startswith("prepare/") for name in changed)
    assert run(root).exit_code == 0
    assert stamps(root / "run") == after


def test_a_single_step_reads_the_folders_of_a_run(root: Path) -> None:
    out = root / "run"
    again = invoke(
        "infer-cam",
        "--data",
        out / "prepare",
        "--model",
        out / "train-cam",
        "--recipe",
        root / "recipe.yaml",
        "--out",
        root / "maps",
    )
    assert again.exit_code == 0, again.output
    one = {p.name: p.read_bytes() for p in (out / "infer-cam" / "maps").rglob("*.npz")}
    assert one == {p.name: p.read_bytes() for p in (root / "maps" / "maps").rglob("*.npz")}


def test_a_corrected_tag_redoes_only_its_photo(root: Path) -> None:
    rows = read_table(root / "photos")
    assert rows[0][1] == "cat"
    rows[0][1] = "dog"
    write_table(root / "photos", rows)
    refused = run(root)
    assert refused.exit_code == 1
    assert "--update" in refused.stderr
    before = stamps(root / "run")
    assert run(root, "--update").exit_code == 0
    after = stamps(root / "run")
    assert CamMaps.open(root / "run" / "infer-cam").manifest.counts["computed"] == 1
    changed = {name for name in after if after[name] != before.get(name)}
    assert {name for name in changed if name.endswith(".npz")} == {
        "infer-cam/maps/a/00.npz",
        "walk/maps/a/00.npz",
    }
    assert not any(name.startswith("train-") for name in changed)  # both models are kept
    assert "evaluate/manifest.json" in changed
    assert "report/manifest.json" in changed


def test_other_settings_of_a_late_step_keep_the_earlier_ones(root: Path) -> None:
    before = stamps(root / "run")
    score = [
        "--set",
        "pseudo_masks.threshold_from=fixed",
        "--set",
        "pseudo_masks.background_threshold=0.4",
    ]
    refused = run(root, *score)
    assert refused.exit_code == 1
    assert "pseudo_masks.threshold_from" in refused.stderr
    assert stamps(root / "run") == before
    assert run(root, *score, "--redo", "pseudo-masks").exit_code == 0
    after = stamps(root / "run")
    kept = {name for name in before if after.get(name) == before[name]}
    assert {name for name in before if name.startswith(("train-cam", "infer-cam"))} <= kept
    masks = PseudoMaskFolder.open(root / "run" / "pseudo-masks").manifest
    assert "0.4" in json.dumps(masks.metrics)


def test_retraining_takes_ignored_pixels_from_the_walk(root: Path) -> None:
    before = (root / "run" / "train-segmenter" / "model.safetensors").read_bytes()
    result = run(
        root,
        "--redo",
        "pseudo-masks",
        "--set",
        "pseudo_masks.unsure_below=0.6",
    )
    assert result.exit_code == 0, result.output
    masks = [
        np.asarray(Image.open(path))
        for path in (root / "run" / "pseudo-masks" / "masks").rglob("*.png")
    ]
    assert any((mask == IGNORE).any() for mask in masks)
    assert any((mask != IGNORE).any() for mask in masks)
    assert (root / "run" / "train-segmenter" / "model.safetensors").read_bytes() != before


@pytest.mark.parametrize("count", [1, 254])
def test_one_class_and_the_maximum_number(tmp_path: Path, count: int) -> None:
    photos = write_photos(tmp_path / "photos", 12, masks=True)
    names = [f"class{number}" for number in range(count)]
    last = dict(zip(NAMES, names[-3:] * (3 if count == 1 else 1), strict=True))
    (photos / "classes.txt").write_text("\n".join(names) + "\n")
    rows = read_table(photos)
    for row in rows:
        row[1] = ";".join(dict.fromkeys(last[name] for name in row[1].split(";") if name))
        labels = read_mask(photos / row[3], 3)
        numbers = np.where(labels, np.maximum(1, labels + count - 3.0), 0)
        Image.fromarray(numbers.astype(np.uint8)).save(photos / row[3])
    write_table(photos, rows)
    fixed = {
        f"{step}__{key}": value
        for step in ("affinity_labels", "walk", "pseudo_masks")
        for key, value in (("threshold_from", "fixed"), ("background_threshold", 0.1))
    }
    write_recipe(tmp_path / "recipe.yaml", **fixed)
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    out = tmp_path / "run"
    found = {
        int(value)
        for path in (out / "pseudo-masks").rglob("*.png")
        for value in np.unique(read_mask(path, count))
    } - {0, IGNORE}
    assert found and found <= {max(1, count - less) for less in range(3)}
    assert Evaluation.open(out / "evaluate").manifest.metrics["val"]["miou"] > 0
    assert names[-1] in (out / "report" / "index.html").read_text()


def test_odd_photos_without_masks_and_without_validation(tmp_path: Path) -> None:
    """Run single pixels, a single row and a single color through every step and a dense CRF."""
    folder = write_photos(tmp_path / "photos")
    rows = [[*row[:2], "train"] for row in read_table(folder)]
    for name, size, tags in (
        ("pixel", (1, 1), "cat"),
        ("untagged", (1, 1), ""),
        ("row", (90, 1), "dog"),
        ("flat", (40, 50), "cat;bird"),
    ):
        Image.new("RGB", size, "tan").save(folder / f"{name}.png")
        rows.append([f"{name}.png", tags, "train"])
    write_table(folder, rows)
    write_recipe(tmp_path / "recipe.yaml")
    result = run(tmp_path, "--set", "pseudo_masks.crf.enabled=true")
    assert result.exit_code == 0, result.output
    made = tmp_path / "run" / "pseudo-masks" / "masks"
    masks = {path.stem: read_mask(path, 3) for path in made.glob("*.png")}
    assert {name: mask.shape for name, mask in masks.items()} == {
        "pixel": (1, 1),
        "untagged": (1, 1),
        "row": (1, 90),
        "flat": (50, 40),
    }
    assert not masks["untagged"].any()
    assert (ReportPage.open(tmp_path / "run" / "report").path / "index.html").is_file()


def test_functions_equal_the_command_and_masks_do_not_matter(
    finished: Path, tmp_path: Path
) -> None:
    """Without the masks of the photos, every file is the same."""
    photos = tmp_path / "photos"
    shutil.copytree(finished / "photos", photos, copy_function=shutil.copy2)
    shutil.rmtree(photos / "masks")
    write_table(photos, [row[:3] for row in read_table(photos)])
    result = pipeline.run(photos, recipe(), tmp_path / "run")
    assert list(result.handles) == STEPS
    assert result.skipped == ()
    assert PreparedData.open(tmp_path / "run" / "prepare").manifest.counts["masks"] == 0
    for made in (
        "train-*/*.safetensors",
        "affinity-labels/**/*.png",
        "infer-cam/**/*.npz",
        "walk/**/*.npz",
        "pseudo-masks/**/*.png",
    ):
        one, other = (
            [path.read_bytes() for path in sorted((folder / "run").glob(made))]
            for folder in (finished, tmp_path)
        )
        assert one and one == other
