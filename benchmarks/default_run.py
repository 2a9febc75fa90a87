"""A whole run of the default recipe beside what its networks and CRFs alone take.

    python -m benchmarks.default_run DATA RUN

DATA is a data folder; the folder RUN must be new. The bare networks of the trainings
(`benchmarks.bare_networks`) are timed before and after the run. The networks of ``infer-cam`` and
``walk`` and the CRFs of ``affinity-labels`` are timed after it, on up to 36 of its photos, and the
network of ``predict`` on photos of the same size. Each is multiplied by the steps or photos that
the run's manifests have. A table of minutes by step is printed and ``RUN/default-run.json`` is
written.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import bare_networks
from benchmarks.demo_run import TOY
from benchmarks.measure import commit, machine, versions
from benchmarks.steps_vs_networks import PLAIN, predict_seconds, times
from tag2mask.artifacts.handles import AffinityLabels, AffinityModel, CamModel, PreparedData
from tag2mask.artifacts.manifest import MANIFEST, Manifest, read_record
from tag2mask.artifacts.step_table import STEPS
from tag2mask.data.index import Sample, read_index
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.schema import Recipe
from tag2mask.steps.train_cam import WARM_START

ROUNDS, PHOTOS = 9, 36
"""How often a bare training step is timed before and after, and photos of the other steps."""
WHOLE = "whole run"
Seconds = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the default recipe, print a table and write a JSON file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.default_run", description=main.__doc__
    )
    parser.add_argument("data", type=Path, help="data folder")
    parser.add_argument("run", type=Path, help="new run folder")
    parser.add_argument("--toy", action="store_true", help="smallest sizes, as a test")
    options = parser.parse_args(arguments)
    run, toy = options.run, options.toy
    if run.exists():
        parser.error(f"{run} exists; a run that goes on can't be timed")
    settings = TOY if toy else ()
    before = {"machine": machine(), "versions": versions(), "commit": commit(), "toy": toy}
    recipe, plain = (load_recipe("lite0-cpu", [*settings, *more]) for more in ((), PLAIN))
    trainings = {
        "warm start": bare_networks.cam_step(plain.train_cam),
        "train-cam": bare_networks.cam_step(recipe.train_cam),
        "train-affinity": bare_networks.affinity_step(recipe.train_affinity),
        "train-segmenter": bare_networks.segmenter_step(recipe.train_segmenter),
    }
    rounds = 1 if toy else ROUNDS
    taken = {name: times(step, rounds) for name, step in trainings.items()}
    words = [word for setting in settings for word in ("--set", setting)]
    start = time.perf_counter()
    command = ("run", "--data", options.data, "--out", run, *words)
    subprocess.run([sys.executable, "-m", "tag2mask", *map(str, command)], check=True)
    whole = time.perf_counter() - start
    for name, step in trainings.items():
        taken[name] += times(step, rounds)
    step_seconds = {name: statistics.median(found) for name, found in taken.items()}
    ours = {kind.step: _manifest(run / kind.step).seconds for kind in STEPS}
    ours |= {WHOLE: whole}
    other = bare_seconds(run, recipe, step_seconds, toy=toy)
    rows = {name: {"seconds": seconds, "bare": other.get(name)} for name, seconds in ours.items()}
    report = {"rows": rows, "bare_step": step_seconds, **before}
    (run / "default-run.json").write_text(json.dumps(report, indent=2) + "\n")
    Console(width=None if Console().is_terminal else 100).print(table(rows))


def bare_seconds(run: Path, recipe: Recipe, step_seconds: Seconds, *, toy: bool) -> Seconds:
    """Return what the network or the CRFs of each step alone take for all that a run did.

    Args:
        run: finished run folder.
        recipe: its recipe.
        step_seconds: seconds of a bare step of each training, and of its warm start.
        toy: whether to time as little as possible.
    """
    manifests = {kind.step: _manifest(run / kind.step) for kind in STEPS}
    found = {
        name: step_seconds[name] * _steps(manifests[name])
        for name in ("train-cam", "train-affinity", "train-segmenter")
    }
    warm = _manifest(run / "train-cam" / WARM_START)
    found["train-cam"] += step_seconds["warm start"] * _steps(warm)
    data = PreparedData.open(run / "prepare")
    training, validation = (read_index(data.path, split) for split in ("train", "val"))
    cam = CamModel.open(run / "train-cam")
    labels = AffinityLabels.open(run / "affinity-labels")
    affinity = AffinityModel.open(run / "train-affinity")
    both = _some([*training, *validation])
    some = _some(training)
    photos: dict[str, tuple[Callable[[], None], int]] = {
        "infer-cam": (bare_networks.cam_forward(cam, recipe.infer_cam, both), len(both)),
        "affinity-labels": (
            bare_networks.crfs(run, labels, recipe.affinity_labels, some),
            len(some),
        ),
        "walk": (bare_networks.affinity_forward(affinity, recipe.walk, both), len(both)),
    }
    for name, (bare, count) in photos.items():
        seconds = statistics.median(times(bare, 1 if toy else 3)) / count
        found[name] = seconds * manifests[name].counts["photos"]
    found["predict"] = predict_seconds(toy=toy) * manifests["predict"].counts["photos"]
    return found | {WHOLE: sum(found.values())}


def table(rows: dict[str, dict[str, Any]]) -> Table:
    """Return the rows as a table of minutes."""
    shown = Table("step", "minutes", "its networks", "ratio")
    for name, row in rows.items():
        seconds, bare = row["seconds"], row["bare"]
        others = ("", "") if bare is None else (f"{bare / 60:.2f}", f"{seconds / bare:.2f}")
        shown.add_row(name, f"{seconds / 60:.2f}", *others)
    return shown


def _manifest(folder: Path) -> Manifest:
    return read_record(folder / MANIFEST, Manifest)


def _steps(manifest: Manifest) -> int:
    return int(manifest.metrics["steps"])


def _some(samples: Sequence[Sample]) -> list[Sample]:
    """Return up to `PHOTOS` samples, evenly from all."""
    count = min(PHOTOS, len(samples))
    return [samples[i * len(samples) // count] for i in range(count)]


if __name__ == "__main__":
    main()
