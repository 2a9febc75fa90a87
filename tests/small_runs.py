"""The smallest real runs: noise photos with tags, a network of 100,000 weights, a few steps."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from tag2mask.artifacts.checksums import model_checksums
from tag2mask.artifacts.handles import CamModel, PreparedData
from tag2mask.artifacts.manifest import Manifest, read_record
from tag2mask.cli import app as cli
from tag2mask.files.json_file import write_json
from tag2mask.recipe.loading import RECIPE_HEAD, recipe_from
from tag2mask.recipe.schema import Recipe
from tag2mask.runtime.session import Runtime
from tag2mask.steps.prepare import prepare
from tag2mask.steps.train_cam import train_cam

NAMES = ("cat", "dog", "bird")
MOMENT = random.SystemRandom()
"""Chooses when commands are killed; no seed fixes it."""

SMALL: dict[str, Any] = {
    "train_cam": {
        "backbone": {"name": "test_efficientnet", "weights": "none", "output_stride": 16},
        "pcm": {"enabled": True, "channels": [8, 16]},
        "views": {"enabled": True, "scale": [0.5, 1.0], "size_multiple": 32},
        "losses": {
            "cls": 1.0,
            "cls_view2": 1.0,
            "min_pool": 1.0,
            "er": 1.0,
            "ecr": 1.0,
            "ramp": 0.0,
        },
        "optimizer": {"name": "adamw", "lr": 0.001},
        "warm_start": 0,
        "epochs": 1,
        "max_steps": None,
        "batch_size": 4,
        "crop": 64,
        "long_side": [48, 80],
        "precision": "32",
        "picture_every": 0,
        "log_every": 1,
    },
    "infer_cam": {"long_side": 64, "scales": [1.0, 0.5], "precision": "32"},
    "affinity_labels": {"crf": {"iterations": 1}},
    "train_affinity": {
        "channels": [4, 4, 8],
        "optimizer": {"name": "adamw", "lr": 0.001},
        "epochs": 1,
        "batch_size": 4,
        "crop": 64,
        "long_side": [48, 80],
        "precision": "32",
        "log_every": 1,
    },
    "walk": {"steps": 64, "long_side": 64, "precision": "32"},
    "train_segmenter": {
        "network": {
            "encoder": "test_efficientnet",
            "weights": "none",
            "output_stride": 16,
            "decoder_channels": None,
        },
        "freeze_stride": 1,
        "absent_weight": 0.1,
        "loss_stride": 1,
        "optimizer": {"name": "adamw", "lr": 0.001},
        "epochs": 1,
        "batch_size": 4,
        "crop": 64,
        "long_side": 64,
        "precision": "32",
        "log_every": 1,
    },
    "predict": {"precision": "32"},
    "report": {"photos": 1},
    "runtime": {"device": "cpu", "workers": 0, "threads": 1},
}


def recipe(**changes: Any) -> Recipe:
    """The small recipe, changed by ``section__key=value`` (inner sections the same way)."""
    return recipe_from(_changed(changes))


def write_recipe(path: Path, **changes: Any) -> Path:
    """The same as a file of a run, which may have settings without effect."""
    path.write_text(f"{RECIPE_HEAD}\n{yaml.safe_dump(_changed(changes))}")
    return path


def _changed(changes: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(yaml.safe_dump(SMALL))
    for key, value in changes.items():
        *sections, last = key.split("__")
        here = values
        for section in sections:
            here = here.setdefault(section, {})
        here[last] = value
    return values


def one_rank(workers: int = 0) -> Runtime:
    """This process alone, one thread: the same numbers in every process."""
    return Runtime.start(device="cpu", workers=workers, threads=1)


def write_photos(folder: Path, count: int = 12, *, masks: bool = False) -> Path:
    """A CSV data folder of noise photos of 48-64 px; each fourth is for validation.

    Every sixth photo has no tag; the files are in sub-folders.
    """
    rng = np.random.default_rng(0)
    rows = []
    for index in range(count):
        size = (48 + 8 * (index % 3), 64 - 8 * (index % 2))
        name = f"{'ab'[index % 2]}/{index:02}"
        _save(folder / f"{name}.png", rng.integers(0, 256, (*size, 3), np.uint8))
        tags = [] if index % 6 == 5 else sorted({index % 3, (index // 3) % 3})
        row = [
            f"{name}.png",
            ";".join(NAMES[tag] for tag in tags),
            "val" if index % 4 == 3 else "train",
        ]
        if masks:
            mask = np.zeros(size, np.uint8)
            for place, tag in enumerate(tags):
                mask[8:40, 4 + 24 * place : 24 + 24 * place] = tag + 1
            _save(folder / "masks" / f"{name}.png", mask)
            row.append(f"masks/{name}.png")
        rows.append(row)
    write_table(folder, rows)
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return folder


def write_table(folder: Path, rows: Iterable[list[str]]) -> None:
    """``tags.csv`` of rows of image, tags, split and perhaps mask."""
    rows = list(rows)
    header = ["image", "tags", "split", "mask"][: len(rows[0])]
    lines = (",".join(row) for row in [header, *rows])
    (folder / "tags.csv").write_text("\n".join(lines) + "\n")


def read_table(folder: Path) -> list[list[str]]:
    """Rows of ``tags.csv``."""
    return [line.split(",") for line in (folder / "tags.csv").read_text().splitlines()[1:]]


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def cut_off(photo: Path) -> None:
    """Truncate a photo so that its size is readable and its pixels aren't."""
    photo.write_bytes(photo.read_bytes()[:200])


def prepared(photos: Path, out: Path) -> PreparedData:
    """The photos' ``prepare/``."""
    return prepare(photos, recipe().prepare, out)


def trained(data: PreparedData, out: Path, **changes: Any) -> CamModel:
    """A network trained for an epoch of the small recipe."""
    return train_cam(data, recipe(**changes).train_cam, out, one_rank())


def record_model(folder: Path) -> None:
    """Record a model file that a test has replaced in the manifest of its folder."""
    path = folder / "manifest.json"
    manifest = read_record(path, Manifest)
    files = model_checksums(folder)
    write_json(path, manifest.model_copy(update={"files": files}).model_dump(mode="json"))


def invoke(*arguments: str | Path) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def command(*arguments: str | Path) -> list[str]:
    """The command line, in a process of its own."""
    return [sys.executable, "-m", "tag2mask", *(str(argument) for argument in arguments)]


def call(*arguments: str | Path, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env=environment(),
    )


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start the command line, for `kill_when`, `interrupt_when` or `end_of`."""
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
        preexec_fn=_accept_interrupts,
    )


def _accept_interrupts() -> None:
    """Undo that a shell ignores SIGINT for the tests it runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """Wait for a running command to get somewhere."""
    deadline = time.monotonic() + 600
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def kill_when(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """SIGKILL a command at a random moment after it got somewhere, long before its end."""
    wait_until(process, reached)
    time.sleep(MOMENT.uniform(0.0, 0.05))
    process.kill()
    _, stderr = process.communicate()
    assert process.returncode == -signal.SIGKILL, stderr


def interrupt_when(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """Interrupt a command once it got somewhere, and check its message."""
    wait_until(process, reached)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the reading processes too
    _, stderr = process.communicate()
    assert process.returncode == 130, stderr
    assert stderr.endswith("interrupted; run the same command again to resume\n"), stderr
    assert "Traceback" not in stderr


def end_of(process: subprocess.Popen[str]) -> None:
    """Wait until a command has done its work."""
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr


def environment() -> dict[str, str]:
    """No threads beyond ours, no debugging switch, no ranks of another launcher."""
    unwanted = {
        "LOCAL_WORLD_SIZE",
        "TORCHELASTIC_RUN_ID",
        "TAG2MASK_DEBUG",
        "LOCAL_RANK",
        "RANK",
        "WORLD_SIZE",
        "MASTER_ADDR",
        "MASTER_PORT",
        "NODE_RANK",
    }
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in unwanted and not name.startswith("SLURM_")
    }
    return kept | {"OMP_NUM_THREADS": "1"}
