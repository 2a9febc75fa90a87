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
from tag2mask.artifacts.files import read_json
from tag2mask.classes import ClassSet
from tag2mask.data.index import read_index
from tag2mask.data.masks import write_mask
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


def draw_masks(truth: dict[str, np.ndarray], classes: Sequence[str]) -> None:
    """Draw the masks of 20 training photos into the data folder, by the numbers of its classes."""
    numbers = np.array([0, *(1 + list(classes).index(name) for name in CLASSES)], np.uint8)
    for sample in read_index(Path("runs/first/prepare"), "train")[:20]:
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
    truth = write_week("parts.xlsx", range(32))
    printed = works("data", "import", "parts.xlsx", "--photos", "shots", "--out", "photos")
    assert "photos: 32 of 32 joined" in printed and "rows ('OK'" in printed
    assert "pit" in works("data", "check", "photos")
    works("run", "--data", "photos", "--out", "runs/first", "--recipe", "small.yaml", "--dry-run")
    assert not Path("runs").exists()
    works("run", "--data", "photos", "--out", "runs/first", "--recipe", "small.yaml")
    report = Path("runs/first/report/index.html").read_text(encoding="utf-8")
    assert "Missed photos and false alarms" in report

    # Can I trust these masks? First without masks, then with 20.
    pages = [shlex.split(line)[1:] for body in trust_commands() for line in body.splitlines()]
    classes = read_json(Path("runs/first/prepare/classes.json"))["names"]
    for words in pages:
        works(*words)
        if words[:2] == ["data", "check"]:
            draw_masks(truth, classes)
    scores = read_json(Path("runs/first/evaluate/evaluation.json"))
    assert len(Path("runs/first/pseudo-masks/calibration_photos.txt").read_text().split()) == 20
    assert scores["splits"][0]["background_source"] == "calibrated"

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
    write_week("second.xlsx", range(32, 42), burnt=range(33, 41))
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
    week2 = ("run", "--data", "photos", "--from", "runs/first", "--out", "runs/second", "--update")
    printed = works(*week2, "--compare", "runs/first", *options)
    assert "start fresh: burn" in printed
    names = (*classes, "burn")
    assert load_seam(Path("runs/second/train-cam/model.safetensors"))[1].classes == names
    assert load_segmenter(Path("runs/second/train-segmenter/model.safetensors"))[1].classes == names
    assert {file: Path(file).read_bytes() for file in before} == before
    report = Path("runs/second/report/index.html").read_text(encoding="utf-8")
    assert 'id="history"' in report and "10 only in" in report


def trust_commands() -> list[str]:
    """Return the commands of the trust page, up to those that need more than 20 masks."""
    page = (ROOT / "docs" / "how-to" / "trust.md").read_text()
    bodies = fences(ROOT / "docs" / "how-to" / "trust.md", "sh")
    return [body for body in bodies if page.index(body) < page.index("\n## With 100")]
