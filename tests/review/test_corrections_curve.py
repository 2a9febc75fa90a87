"""The experiment's points: which are due, what is drawn."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.experiments.corrections_curve import (
    Point,
    chosen_photos,
    draw,
    points,
    scored_points,
)
from reviewed_run import reviewed_run

from small_runs import write_photos
from tag2mask.data.corrections.folder import read_corrections
from tag2mask.data.index import read_mask_paths
from tag2mask.data.masks import read_mask


def test_points_are_named_once_and_skipped_when_scored(tmp_path: Path) -> None:
    options = argparse.Namespace(
        run=tmp_path / "r", photos="0,20", choices="ask,random", seeds="0,1", settings=["a.b=1"]
    )
    found = points(options)
    assert len(found) == 6  # k = 0 has no choice and no settings
    rows = tmp_path / "rows.jsonl"
    assert scored_points(rows) == set()
    first = found[1]
    row = {**first.__dict__, "miou": 1.0}
    rows.write_text(json.dumps(row) + "\n")
    assert scored_points(rows) == {first}
    assert len({point.name for point in found}) == 6


def test_ground_truth_stands_for_drawn_masks(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 24, masks=True)
    run = reviewed_run(tmp_path)
    for choice in ("ask", "random"):
        point = Point("run", choice, 5, 0, ())
        chosen = chosen_photos(point, run, tmp_path / "work")
        assert len(set(chosen)) == 5
        assert chosen_photos(point, run, tmp_path / "work") == chosen
        draw(run, chosen, tmp_path / choice)
        draw(run, chosen, tmp_path / choice)  # resumed
        found = read_corrections(tmp_path / choice)
        assert set(found.masks()) == set(chosen)
        truths = read_mask_paths(run / "prepare")
        for photo, mask in found.masks().items():
            assert (read_mask(mask, 3) == read_mask(truths[photo], 3)).all()
