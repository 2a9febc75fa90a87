"""The commands of `masks`: what they print and write."""

import json
from pathlib import Path

import numpy as np
import pytest
from mask_folders import random_masks, write_images, write_step

from small_runs import invoke, prepared, write_photos


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run folder ``run`` with predicted masks, in the working directory."""
    monkeypatch.chdir(tmp_path)
    data = prepared(write_photos(tmp_path / "photos"), tmp_path / "run/prepare")
    masks = random_masks(data)
    write_step(tmp_path / "run/predict", masks, data)
    return masks


def test_score(run):
    true = {id: np.minimum(mask, 3) for id, mask in run.items() if id != "a/00"}
    write_images(Path("true"), {**true, "x": true["b/01"]})
    done = invoke("masks", "score", "run", "true", "--json", "s.json", "--plot", "s.png")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("masks: run/predict (12)\ntrue masks: true (12)\n| %")
    assert done.stderr.splitlines() == [
        "not scored: 1 photo has no true mask: a/00",
        "not scored: 1 photo has no mask to score: x",
    ]
    assert json.loads(Path("s.json").read_text())["scores"]["miou"] == 1.0


def test_score_names_what_is_missing(run):
    done = invoke("masks", "score", "run", "nowhere")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: no such folder of masks [nowhere]")


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_score_refuses_a_folder_before_the_work(run, option):
    Path("folder").mkdir()
    done = invoke("masks", "score", "run", "nowhere", option, "folder")
    assert done.exit_code == 1 and "a folder is in the place of the file [folder]" in done.stderr


def test_export_into_the_working_directory(run, monkeypatch):
    Path("empty").mkdir()
    monkeypatch.chdir("empty")
    done = invoke("masks", "export", "../run", "--to", "coco", "--out", ".")
    assert done.exit_code == 1 and "while you are in it [.]" in done.stderr
    assert Path.cwd().samefile("../empty") and not list(Path().iterdir())


def test_export(run):
    ignored = sum(int((mask == 255).sum()) for mask in run.values())
    done = invoke("masks", "export", "run", "--to", "coco", "--out", "out", "--stuff")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [
        "masks: run/predict (12)",
        "coco: out (12 masks, photos 12 linked)",
    ]
    assert f"left out: {ignored} ignored pixels (255), which coco can't hold" in done.stderr
    again = invoke("masks", "export", "run", "--to", "coco", "--out", "out")
    assert again.exit_code == 1 and "--overwrite" in again.stderr
    words = ("--overwrite", "--photo-files", "copy")
    done = invoke("masks", "export", "run", "--to", "cvat", "--out", "out", *words)
    assert done.exit_code == 0 and "photos 12 copied" in done.stdout
    assert not Path("out/annotations").exists() and Path("out/annotations.xml").exists()


def test_export_says_what_it_assumed(run):
    masks = {id: mask for id, mask in run.items() if id != "a/00"}
    write_images(Path("drawn"), masks)
    Path("names.txt").write_text("cat\ndog\nbird\n")
    words = ("--photos", "photos", "--classes", "names.txt", "--photo-files", "none")
    done = invoke("masks", "export", "drawn", "--to", "cvat", "--out", "out", *words)
    assert done.exit_code == 0, done.stderr
    assert "the masks have no splits: all are written as train" in done.stderr
    assert done.stdout.splitlines()[-1] == "cvat: out (11 masks, without photos)"
    wrong = invoke("masks", "export", "drawn", "--to", "cvat", "--out", "o2", "--stuff", *words)
    assert wrong.exit_code == 1 and "cvat has no option --stuff" in wrong.stderr


def test_import(run):
    write_images(Path("drawn"), run)
    done = invoke("masks", "import", "drawn", "--data", "run", "--out", "in", "--drawn")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("masks: drawn (png)\npseudo-masks: in (12 photos, ")
    assert "masks show classes that the photo's tags exclude" in done.stderr
    words = ("--data", "run/prepare", "--out", "in2", "--model", "SAM 3", "--gate-by-tags")
    done = invoke("masks", "import", "drawn", *words, "--map", "bird=dog", "--map", "cat=")
    assert done.exit_code == 0, done.stderr
    manifest = json.loads(Path("in2/manifest.json").read_text())
    assert manifest["section"] == {
        "imported": "model:SAM 3",
        "names": {"bird": "dog", "cat": ""},
        "min_score": None,
        "gate_by_tags": True,
    }
    Path("drawn/a/00.png").unlink()
    done = invoke("masks", "import", "drawn", "--data", "run", "--out", "in3", "--drawn")
    assert done.exit_code == 3 and "left out: a/00: no mask was imported" in done.stderr


def test_import_of_a_models_results(run):
    code = {"size": [48, 64], "counts": [0, 48 * 64]}
    Path("r.json").write_text(
        json.dumps([{"image_id": 1, "category_id": 1, "segmentation": code, "score": 0.5}])
    )
    images = [{"id": 1, "file_name": "a/00.png", "height": 48, "width": 64}]
    listed = {"images": images, "categories": [{"id": 1, "name": "cat"}]}
    Path("val.json").write_text(json.dumps(listed))
    words = ("masks", "import", "r.json", "--data", "run", "--out", "in", "--model", "R50")
    missing = invoke(*words)
    assert missing.exit_code == 1 and "as --annotations" in missing.stderr
    done = invoke(*words, "--annotations", "val.json")
    assert done.exit_code == 3 and done.stdout.startswith("masks: r.json (coco-results)")


def test_import_needs_to_know_who_made_the_masks(run):
    words = ("masks", "import", "run", "--data", "run", "--out", "in")
    assert "either --drawn or --model NAME" in invoke(*words).stderr
    assert invoke(*words, "--drawn", "--model", "x").exit_code == 2
    assert invoke(*words, "--drawn", "--map", "cat").exit_code == 2
