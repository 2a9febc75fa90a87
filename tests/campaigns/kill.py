"""Kills commands at random moments, resumes them, and compares bit for bit: ``make kill N=30``.

Each command runs once undisturbed. Then the same command is stopped once or twice by SIGKILL, in a
quarter of the cases by SIGINT (Ctrl-C), at moments drawn with a seed, and run to its end. All files
must equal those of the undisturbed command, except what holds times. An interrupted command must
also say so in one line and end with 130.

Usage: ``PYTHONPATH=tests python tests/campaigns/kill.py [--kills 30] [--seed 0]``. Exit code 1
where anything differed.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from small_runs import call, read_table, start, write_photos, write_recipe, write_table

INTERRUPT_SHARE = 0.25
MESSAGE = "interrupted; run the same command again to resume\n"
TABLE = """
description: two rows
set: {walk.enabled: false, train_segmenter.enabled: false}
rows:
  - {name: CAM, set: {train_cam.pcm.enabled: false, train_cam.views.enabled: false}}
  - {name: SEAM}
"""
NOT_COMPARED = {
    ".lock": "holds nothing",
    "items.jsonl": "the order in which threads finish, and the times of files",
    "tensorboard": "times",
    "report": "durations, and the times of files",
    "index.html": "durations",
    "table.md": "durations",
    "ablation.json": "durations",
    "plot.png": "drawn from ablation.json",
}
"""Names of files and folders that may differ, and why."""
VARYING = {"seconds", "started", "photos_per_second", "computed", "path"}
"""Keys of manifests, and columns of logs, that may differ: times, and where the inputs are."""


@dataclass(frozen=True)
class Scenario:
    """A command that is killed.

    Attributes:
        name: shown in each line.
        arguments: the command line, without ``--out``.
        begin: fills the folder that the command writes, before it runs.
    """

    name: str
    arguments: tuple[str | Path, ...]
    begin: Callable[[Path], object] = lambda out: None

    def line(self, out: Path) -> tuple[str | Path, ...]:
        """Return the complete command line."""
        return (*self.arguments, "--out", out)


@dataclass
class Tally:
    """What happened so far."""

    kills: int = 0
    differences: int = 0

    def differs(self, message: str) -> None:
        """Count and print a difference."""
        self.differences += 1
        print(f"    DIFFERENT: {message}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the campaign and return its exit code."""
    parser = argparse.ArgumentParser(description="Kill commands, resume them and compare.")
    parser.add_argument("--kills", type=int, default=30, help="number of kills")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    options = parser.parse_args(arguments)
    begun = time.monotonic()
    # torch writes the ranges of an exported network's sizes in the order of their hashes.
    os.environ["PYTHONHASHSEED"] = "0"
    with tempfile.TemporaryDirectory(prefix="kill-") as work:
        tally = _campaign(Path(work), options.kills, random.Random(options.seed))
    minutes = (time.monotonic() - begun) / 60
    print(f"{tally.kills} kills, {tally.differences} differences ({minutes:.0f} min)")
    return 1 if tally.differences else 0


def _campaign(work: Path, kills: int, rng: random.Random) -> Tally:
    tally, durations = Tally(), {}
    scenarios = _scenarios(work)
    for scenario in scenarios:
        out = work / "undisturbed" / scenario.name
        scenario.begin(out)
        began = time.monotonic()
        _finish(scenario.line(out))
        durations[scenario.name] = time.monotonic() - began
        print(f"undisturbed: {scenario.name}, {durations[scenario.name]:.1f} s", flush=True)
    while tally.kills < kills:
        for scenario in scenarios:
            if tally.kills == kills:
                break
            out = work / "killed" / scenario.name
            scenario.begin(out)
            for _ in range(min(rng.randint(1, 2), kills - tally.kills)):
                if not _kill(scenario, out, durations[scenario.name], rng, tally):
                    break
            _finish(scenario.line(out))
            for message in differences(work / "undisturbed" / scenario.name, out):
                tally.differs(f"{scenario.name}: {message}")
            shutil.rmtree(out)
    return tally


def _scenarios(work: Path) -> list[Scenario]:
    """Write the data and return the commands, each of which may read what earlier ones wrote."""
    photos, changed = write_photos(work / "photos", 16, masks=True), work / "changed"
    shutil.copytree(photos, changed, copy_function=shutil.copy2)
    rows = read_table(changed)
    rows[0][1] = "dog" if rows[0][1] != "dog" else "bird"  # a corrected tag
    write_table(changed, [*rows[:5], *rows[6:]])  # and a photo that is gone
    recipe = write_recipe(work / "recipe.yaml", train_cam__checkpoint_minutes=0.01)
    (work / "table.yaml").write_text(TABLE)
    run = work / "undisturbed" / "run"
    formats = "onnx,torch" if importlib.util.find_spec("onnxscript") else "torch"

    def copy_of_the_run(out: Path) -> None:
        shutil.copytree(run, out, copy_function=shutil.copy2)

    return [
        Scenario("run", ("run", "--data", photos, "--recipe", recipe)),
        Scenario(
            "run --update",
            ("run", "--data", changed, "--recipe", recipe, "--update"),
            copy_of_the_run,
        ),
        Scenario("predict", ("predict", photos, "--model", run)),
        Scenario(
            "ablate",
            ("ablate", "--data", photos, "--table", work / "table.yaml", "--recipe", recipe),
        ),
        Scenario("export", ("export", run, "--format", formats)),
    ]


def _kill(scenario: Scenario, out: Path, duration: float, rng: random.Random, tally: Tally) -> bool:
    """Start a command and stop it at a random moment; return whether it was still running."""
    interrupt = rng.random() < INTERRUPT_SHARE
    moment = rng.uniform(0, duration)
    process = start(*scenario.line(out))
    try:
        process.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT if interrupt else signal.SIGKILL)
    stopped = process.returncode is None
    _, stderr = process.communicate(timeout=600)
    if not stopped or (interrupt and process.returncode == 0):
        return False  # it was faster than the undisturbed command
    tally.kills += 1
    name = "SIGINT" if interrupt else "SIGKILL"
    print(f"{tally.kills:4} {scenario.name}: {name} after {moment:.2f} s", flush=True)
    if interrupt and not _ended_well(process.returncode, stderr):
        tally.differs(f"exit code {process.returncode}, {stderr!r}")
    return True


def _ended_well(code: int, stderr: str) -> bool:
    """Return whether an interrupted command said so.

    While Python itself starts, and after the command's end, it has no say: Python ends with a
    traceback of its own modules, or silently by the signal.
    """
    if code == 130:
        return stderr.endswith(MESSAGE) and "Traceback" not in stderr
    ours = "tag2mask" in stderr
    return not ours and (code == -signal.SIGINT or (code == 1 and "Traceback" in stderr))


def _finish(line: tuple[str | Path, ...]) -> None:
    done = call(*line)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, line))} failed:\n{done.stderr}")


def differences(expected: Path, found: Path) -> Iterator[str]:
    """Yield a line for each file that is missing, left over, or has another content."""
    one, other = _files(expected), _files(found)
    for name in sorted(one.keys() | other.keys()):
        if name not in other:
            yield f"{name} is missing"
        elif name not in one:
            yield f"{name} is left over"
        elif _content(one[name]) != _content(other[name]):
            yield f"{name} has another content"


def _files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_file() and not NOT_COMPARED.keys() & set(path.relative_to(folder).parts)
    }


def _content(path: Path) -> object:
    """Return what must be equal in two files of the same name."""
    if path.name in ("manifest.json", "model-card.json"):
        return _constant(json.loads(path.read_text(encoding="utf-8")))
    if path.name == "losses.csv":
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return [_constant(row) for row in rows]
    return path.read_bytes()


def _constant(values: Any) -> Any:
    if isinstance(values, dict):
        return {k: _constant(value) for k, value in values.items() if k not in VARYING}
    return values


if __name__ == "__main__":
    sys.exit(main())
