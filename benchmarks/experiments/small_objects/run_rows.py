"""Runs on the generated photos with small defects, one after the other; continued where it ended.

    python -m benchmarks.experiments.small_objects.run_rows DATA RUNS [--rows NAME...]
        [--until predict] [--set KEY=VALUE...] [--minutes 600]

DATA is a folder of `benchmarks.small_defects`. Each row is a recipe with changed settings, run in
RUNS/NAME by ``tag2mask run``. When it is complete, one line is appended to ``--log``, by default
``rows.jsonl`` next to this file: settings, data, commit, machine, minutes, peak memory,
and the scores of `benchmarks.object_scores`. Rows that are in the log with the same settings, data
and last step are skipped, and a run that was interrupted is resumed, so the same command goes on.
``--set`` changes settings of every row, for reduced runs; they are logged.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiments.row_log import Row, append_row, origin, read_rows
from benchmarks.measure import SUCCESS
from benchmarks.object_scores import score_run

LOG = Path(__file__).with_name("rows.jsonl")
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "lite0-cpu": ("lite0-cpu", ()),
    "small-objects-cpu": ("small-objects-cpu", ()),
    "fine-tuned": (
        "small-objects-cpu",
        (
            "train_cam.starts=1",
            "train_cam.dropout=0",
            "train_cam.optimizer.lr=0.00001",
            "train_cam.optimizer.new_layer_lr=1000",
            "train_cam.optimizer.schedule=poly",
            "train_cam.epochs=20",
            "train_cam.batch_size=4",
        ),
    ),
    "starts=4": ("small-objects-cpu", ("train_cam.starts=4",)),
    "pooling=max": ("small-objects-cpu", ("train_cam.pooling=max",)),
    "stride 16": ("small-objects-cpu", ("train_cam.backbone.output_stride=16",)),
    "dilated": (
        "small-objects-cpu",
        ("train_cam.truncate_backbone=false", "train_cam.backbone.output_stride=16"),
    ),
    "larger network": (
        "small-objects-cpu",
        (
            "train_segmenter.network.decoder_channels=null",
            "train_segmenter.freeze_stride=1",
            "train_segmenter.loss_stride=1",
        ),
    ),
    "CRF": ("small-objects-cpu", ("pseudo_masks.crf.enabled=true",)),
}
"""Rows in their order: a recipe and what differs from it."""


def describe_data(folder: Path) -> dict[str, Any]:
    """Return numbers of photos and the side of the first one, which tell data sets apart."""
    from PIL import Image

    lines = (folder / "tags.csv").read_text(encoding="utf-8").splitlines()[1:]
    with Image.open(folder / lines[0].split(",")[0]) as photo:
        side = photo.width
    test = sum(",val," in line for line in lines)
    return {"train": len(lines) - test, "test": test, "side": side}


def is_logged(log: Path, row: Row) -> bool:
    """Return whether the log has a row of the same recipe, settings, data and last step."""
    keys = ("recipe", "settings", "data", "until")
    return any(all(logged[key] == row[key] for key in keys) for logged in read_rows(log))


def run_row(data: Path, out: Path, row: Row) -> Row:
    """Run a row, or the rest of it; return it with times, memory and scores.

    Raises:
        SystemExit: the run failed; it has printed why.
    """
    settings = [word for value in row["settings"] for word in ("--set", value)]
    command = [sys.executable, "-m", "benchmarks.experiments.small_objects.run_rows", "--one"]
    command += ["run", "--data", str(data), "--recipe", row["recipe"], "--out", str(out)]
    start = time.monotonic()
    done = subprocess.run([*command, "--until", row["until"], *settings], stdout=subprocess.PIPE)
    if done.returncode not in SUCCESS:
        raise SystemExit(f"row {row['name']!r} failed; its message is above")
    scores = {stage: score_run(out, stage) for stage in _stages(row["until"])}
    return row | {
        "minutes": round((time.monotonic() - start) / 60, 1),
        "peak_mib": int(done.stdout.splitlines()[-1]) // 1024,
        "scores": scores,
        **origin(),
    }


def _stages(until: str) -> tuple[str, ...]:
    return ("pseudo-masks",) if until == "pseudo-masks" else ("pseudo-masks", "predict")


def _run_here(arguments: Sequence[str]) -> None:
    """Run ``tag2mask`` in this process, and print its peak memory in KiB."""
    from benchmarks.peak import peak_kib
    from tag2mask.cli.app import app

    code = app(list(arguments), standalone_mode=False)
    print(peak_kib())
    sys.exit(code)


def main() -> None:
    """Run the rows that the log lacks, within the given time."""
    if sys.argv[1:2] == ["--one"]:
        _run_here(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--until", choices=("pseudo-masks", "predict"), default="predict")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--minutes", type=float, default=600, help="begin no row after this time")
    parser.add_argument("--log", type=Path, default=LOG)
    options = parser.parse_args()
    data, start = describe_data(options.data), time.monotonic()
    for name in options.rows:
        recipe, settings = ROWS[name]
        changes = [*settings, *options.set]
        row = {"name": name, "recipe": recipe, "settings": changes, "data": data}
        row["until"] = options.until
        if is_logged(options.log, row):
            continue
        if time.monotonic() - start > 60 * options.minutes:
            break
        found = run_row(options.data, options.runs / name.replace(" ", "-"), row)
        append_row(options.log, found)
        print(json.dumps(found["scores"], indent=2), flush=True)


if __name__ == "__main__":
    main()
