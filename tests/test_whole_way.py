"""From a spreadsheet to a camera, and a second week with a new class: the commands of the pages."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from benchmarks.small_defects import CLASSES, make_part
from PIL import Image

from small_runs import invoke
from tag2mask.classes import ClassSet
from tag2mask.data.index import read_index
from tag2mask.data.masks import write_mask
from tag2mask.data.splits import Split
from tag2mask.files.json_file import read_json
from tag2mask.recipe.loading import RECIPE_HEAD, dump_recipe, load_recipe
from tag2mask.seam.model import load_seam
from tag2mask.segmentation.networks import load_segmenter
from test_docs import ROOT, fences

SETTINGS = (
    "train_cam.epochs=100",
    "train_cam.max_steps=40",
    "train_cam.crop=96",
    "train_cam.long_side=[96, 128]",
    "train_cam.freeze_batch_norm=false",
    "train_affinity.crop=96",
    "train_segmenter.crop=96",
    "affinity_labels.threshold_from=fixed",
    "pseudo_masks.threshold_from=fixed",
    "runtime.workers=0",
)
"""The recipe ``tiny`` for the least training that finds something in these photos."""
PARTS = 64
"""Parts of the first week: 51 for training, 13 for validation."""
ALONE = ("numpy", "Pillow", "onnxruntime")
"""What the exported program needs."""
PYTHON = "TAG2MASK_PYTHON_WITHOUT_TORCH"
"""Environment variable that names a Python with these packages and without torch."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python without torch and tag2mask, found or installed."""
    folder = tmp_path_factory.mktemp("venv")
    found = os.environ.get(PYTHON)
    if found is None:
        venv.create(folder, with_pip=True)
        found = str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
        install = [found, "-m", "pip", "install", "--quiet", *ALONE]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no network to install {', '.join(ALONE)}: {done.stderr[-200:]}")
    script = "import importlib.util as u; assert not u.find_spec('torch') and u.find_spec('PIL')"
    subprocess.run([found, "-I", "-c", script], check=True)
    return Path(found)


def write_week(table: str, parts: range, *, burnt: Sequence[int] = ()) -> dict[str, np.ndarray]:
    """Write photos of parts and their workbook; return the true masks by photo."""
    openpyxl = pytest.importorskip("openpyxl")
    Path("shots").mkdir(exist_ok=True)
    book, masks = openpyxl.Workbook(), {}
    book.active.append(["part number", "inspector", "defects"])
    for number in parts:
        part = make_part(number, side=128, seed=1)
        pixels, name = part.photo.copy(), f"{4711000 + number}"
        tags = [CLASSES[tag] for tag in part.tags]
        if number in burnt:
            pixels[20:70, 30:90] //= 3
            tags.append("burn")
        Image.fromarray(pixels).save(f"shots/{name}.jpg", quality=95)
        book.active.append([4711000 + number, "AB", "; ".join(tags) or "OK"])
        masks[name] = part.mask
    book.save(table)
    return masks


def works(*words: str | Path) -> str:
    done = invoke(*words)
    assert done.exit_code == 0, f"{words}\n{done.output}"
    return " ".join(done.output.split())


def draw_masks(truth: dict[str, np.ndarray], split: Split, count: int) -> None:
    """Draw masks of photos of a split into the data folder, by the numbers of its classes."""
    classes = read_json(Path("runs/first/prepare/classes.json"))["names"]
    numbers = np.array([0, *(1 + classes.index(name) for name in CLASSES)], np.uint8)
    for sample in read_index(Path("runs/first/prepare"), split)[:count]:
        mask = numbers[truth[Path(sample.id).name]]
        path = Path("photos/masks") / f"{sample.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, mask, ClassSet(tuple(classes)).colors)


@pytest.mark.slow
def test_from_a_spreadsheet_to_a_camera_and_a_second_week(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = dump_recipe(load_recipe("tiny", SETTINGS))
    Path("small.yaml").write_text(f"{RECIPE_HEAD}\n{recipe}")

    # The spreadsheet.
    truth = write_week("parts.xlsx", range(PARTS))
    printed = works("data", "import", "parts.xlsx", "--photos", "shots", "--out", "photos")
    assert f"photos: {PARTS} of {PARTS} joined" in printed and "rows ('OK'" in printed
    assert "pit" in works("data", "check", "photos")
    works("run", "--data", "photos", "--out", "runs/first", "--recipe", "small.yaml", "--dry-run")
    assert not Path("runs").exists()
    works("run", "--data", "photos", "--out", "runs/first", "--recipe", "small.yaml")
    report = Path("runs/first/report/index.html").read_text(encoding="utf-8")
    assert "Missed photos and false alarms" in report

    # Can I trust these masks? First without masks, then with 20, then with many.
    for words in trust_commands(before="## With 100 masks"):
        works(*words)
        if words[:2] == ["data", "check"]:
            draw_masks(truth, "train", 20)
    assert calibrated_on("runs/first") == 20
    draw_masks(truth, "train", 50)
    draw_masks(truth, "val", 50)
    another = ("--from", "runs/first", "--out", "runs/second", "--set", "train_segmenter.seed=1")
    works("run", "--data", "photos", *another)
    for words in trust_commands(after="## With 100 masks"):
        works(*words)
    assert calibrated_on("runs/first") == 50
    assert len(Path("runs/first/tune/photos.txt").read_text().split()) == 50
    val = read_json(Path("runs/first/evaluate/evaluation.json"))["splits"][1]
    assert all(stage["used"]["miou_interval"] for stage in val["stages"]), "masks of val are scored"
    compared = Path("runs/second/report/index.html").read_text(encoding="utf-8")
    assert "train_segmenter.seed" in compared and 'id="compared-scores"' in compared

    # The camera PC.
    works("export", "runs/first", "--out", "exported", "--format", "onnx")
    Path("camera").mkdir()
    for name in list(truth)[:3]:
        shutil.copy(f"shots/{name}.jpg", "camera")
    done = subprocess.run(
        [python, "-I", "exported/predict.py", "camera", "--out", "alone"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    works("predict", "camera", "--model", "exported", "--out", "here")
    for name in list(truth)[:3]:
        same = [Path(out) / "masks" / f"{name}.png" for out in ("alone", "here")]
        assert same[0].read_bytes() == same[1].read_bytes()

    # The second week, with a new class.
    write_week("second.xlsx", range(PARTS, PARTS + 10), burnt=range(PARTS + 1, PARTS + 9))
    refused = invoke("data", "import", "second.xlsx", "--photos", "shots", "--out", "photos")
    assert refused.exit_code == 1 and "--yes" in refused.stderr
    works("data", "import", "second.xlsx", "--photos", "shots", "--out", "photos", "--yes")
    assert "10 photos added since" in works("status", "runs/first")
    refused = invoke("run", "--data", "photos", "--out", "runs/first", "--update", "--dry-run")
    assert refused.exit_code == 1 and "new burn" in refused.stderr
    models = {
        "train_cam": "runs/first/train-cam/model.safetensors",
        "train_segmenter": "runs/first/train-segmenter/model.safetensors",
    }
    before = {file: Path(file).read_bytes() for file in models.values()}
    options = [w for key, file in models.items() for w in ("--set", f"{key}.init_from={file}")]
    week2 = ("run", "--data", "photos", "--from", "runs/first", "--out", "runs/later", "--update")
    printed = works(*week2, "--compare", "runs/first", *options)
    assert "start fresh: burn" in printed
    names = (*read_json(Path("runs/first/prepare/classes.json"))["names"], "burn")
    assert load_seam(Path("runs/later/train-cam/model.safetensors"))[1].classes == names
    assert load_segmenter(Path("runs/later/train-segmenter/model.safetensors"))[1].classes == names
    assert {file: Path(file).read_bytes() for file in before} == before
    report = Path("runs/later/report/index.html").read_text(encoding="utf-8")
    assert 'id="history"' in report and "10 only in" in report


def trust_commands(*, before: str = "", after: str = "") -> list[list[str]]:
    """Return the commands of the trust page in front of a heading, or behind it."""
    page = (ROOT / "docs" / "how-to" / "trust.md").read_text()
    place = page.index(f"\n{before or after}\n")
    bodies = fences(ROOT / "docs" / "how-to" / "trust.md", "sh")
    chosen = [body for body in bodies if (page.index(body) < place) == bool(before)]
    return [shlex.split(line)[1:] for body in chosen for line in body.splitlines()]


def calibrated_on(run: str) -> int:
    """Return the number of photos that the background threshold of a run was calibrated on."""
    scores = read_json(Path(run) / "evaluate" / "evaluation.json")
    assert scores["splits"][0]["background_source"] == "calibrated"
    return len((Path(run) / "pseudo-masks" / "calibration_photos.txt").read_text().split())
