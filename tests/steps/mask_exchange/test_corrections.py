"""Drawn masks of other tools as corrections."""

from __future__ import annotations

import numpy as np
from coco_files import damaged, square, write_coco
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
    assert not out.exists() and not list(tmp_path.glob(".import-*"))


def test_nothing_is_written_of_masks_that_cant_be_drawn(tmp_path, data):
    path = tmp_path / "drawn.json"
    write_coco(path, [("a/00.png", (64, 48))], [[damaged("cat")]])
    run = tmp_path / "run"
    run.mkdir()
    words = ["masks", "import", path, "--data", data.path, "--out", run / "corrections", "--drawn"]
    done = invoke(*words)
    assert done.exit_code == 1 and "photo with regions that can't be drawn" in done.stderr
    assert not list(run.iterdir())
    write_coco(path, [("a/00.png", (64, 48))], [[square("cat", (0, 0, 8, 8))]])
    done = invoke(*words)
    assert done.exit_code == 0, done.stderr
    assert [*read_corrections(run / "corrections").decisions] == ["a/00"]
