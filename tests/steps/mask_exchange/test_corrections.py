"""Drawn masks of other tools as corrections."""

from __future__ import annotations

import numpy as np
from mask_folders import random_masks, write_images

from small_runs import NAMES, invoke
from tag2mask.classes import ClassSet
from tag2mask.data.corrections.decisions import Decision
from tag2mask.data.corrections.folder import read_corrections
from tag2mask.data.corrections.writing import open_corrections
from tag2mask.data.masks import read_mask


def test_drawn_masks_become_corrections(tmp_path, data):
    masks = random_masks(data)
    first, second, *_ = masks
    folder = write_images(tmp_path / "drawn", {id: masks[id] for id in (first, second)})
    out = tmp_path / "corrections"
    with open_corrections(out, ClassSet(NAMES)) as writer:
        writer.write(Decision(first, "bad", tags_added=("bird",), looked_at="a" * 64))
    words = ["masks", "import", folder, "--data", data.path, "--out", out]
    done = invoke(*words, "--drawn")
    assert done.exit_code == 0, done.output
    assert "2 photos corrected" in done.output
    found = read_corrections(out)
    assert {photo: own.verdict for photo, own in found.decisions.items()} == {
        first: "corrected",
        second: "corrected",
    }
    assert found.decisions[first].tags_added == ("bird",)
    assert (found.decisions[first].origin, found.decisions[first].looked_at) == ("import", "")
    for photo, path in found.masks().items():
        np.testing.assert_array_equal(read_mask(path, len(NAMES)), masks[photo])
    assert found.counts([first, second])["imported"] == 2
    assert not list(out.glob(".import-*"))


def test_masks_of_a_model_are_a_folder_of_masks(tmp_path, data):
    folder = write_images(tmp_path / "made", random_masks(data))
    out = tmp_path / "corrections"
    words = ["masks", "import", folder, "--data", data.path, "--out", out]
    assert invoke(*words, "--model", "SAM").exit_code == 0
    assert (out / "manifest.json").is_file() and not (out / "decisions.jsonl").exists()


def test_nothing_is_written_of_masks_that_dont_fit(tmp_path, data):
    masks = {id: mask[:5] for id, mask in random_masks(data).items()}
    folder = write_images(tmp_path / "drawn", masks)
    out = tmp_path / "corrections"
    words = ["masks", "import", folder, "--data", data.path, "--out", out]
    assert invoke(*words, "--drawn").exit_code == 1
    assert read_corrections(out).decisions == {}
