"""The benchmark of the whole default run, at the smallest sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.default_run import WHOLE, main

from small_runs import write_photos
from tag2mask.artifacts.step_table import STEPS

NETWORKS = {
    "train-cam",
    "infer-cam",
    "affinity-labels",
    "train-affinity",
    "walk",
    "train-segmenter",
    "predict",
}


@pytest.mark.slow
def test_every_step_stands_beside_its_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, run = write_photos(tmp_path / "photos", masks=True), tmp_path / "run"
    main([str(photos), str(run), "--toy"])
    written = json.loads((run / "default-run.json").read_text())
    rows, step = written["rows"], written["bare_step"]
    assert set(rows) == {kind.step for kind in STEPS} | {WHOLE}
    assert {name for name, row in rows.items() if row["bare"] is not None} == {*NETWORKS, WHOLE}
    # One step of each training, and one of the plain CAM before.
    assert rows["train-cam"]["bare"] == pytest.approx(step["warm start"] + step["train-cam"])
    assert rows["train-affinity"]["bare"] == pytest.approx(step["train-affinity"])
    assert rows[WHOLE]["bare"] == pytest.approx(sum(rows[name]["bare"] for name in NETWORKS))
    own = sum(row["seconds"] for name, row in rows.items() if name != WHOLE)
    assert 0 < own < rows[WHOLE]["seconds"]
    assert WHOLE in capsys.readouterr().out


def test_a_run_that_goes_on_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), str(tmp_path), "--toy"])
    assert "can't be timed" in capsys.readouterr().err
