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
