"""A small run on photos of VOC's size, whose folders other benchmarks measure."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tag2mask.data.demo.scenes import make_demo_data

PHOTOS, SIDE = 36, 500
"""Number of photos, thirty of them for training, and their long side, px."""
SHORT = ("train_cam.max_steps=40", "train_affinity.max_steps=10", "train_cam.picture_every=0")
TOY = (
    "train_cam.backbone.name=test_efficientnet",
    "train_cam.backbone.weights=none",
    "train_cam.max_steps=1",
    "train_cam.crop=64",
    "train_affinity.max_steps=1",
    "train_affinity.crop=64",
    "infer_cam.long_side=64",
    "walk.long_side=64",
    "train_segmenter.network.encoder=test_efficientnet",
    "train_segmenter.network.weights=none",
    "train_segmenter.freeze_stride=1",
    "train_segmenter.max_steps=1",
    "train_segmenter.crop=64",
    "train_segmenter.long_side=64",
    "runtime.threads=1",
    "runtime.workers=0",
)


@functools.cache
def demo_run(*, toy: bool = False) -> Path:
    """Return the folder of a run up to ``pseudo-masks``, deleted when this process ends.

    The default recipe, with shorter training: the maps are as blurred as usual, but less accurate.
    """
    folder = Path(tempfile.mkdtemp(prefix="tag2mask-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    make_demo_data(folder / "data", photos=12 if toy else PHOTOS, side=64 if toy else SIDE)
    run(folder, SHORT, "--until", "pseudo-masks", toy=toy)
    return folder / "run"


def run(folder: Path, settings: Sequence[str], *options: str, toy: bool) -> None:
    """Run the default recipe with changed settings on ``folder/data`` into ``folder/run``."""
    changed = [word for value in (*settings, *(TOY if toy else ())) for word in ("--set", value)]
    command = [
        sys.executable,
        "-m",
        "tag2mask",
        "run",
        "--data",
        folder / "data",
        "--out",
        folder / "run",
        *options,
        *changed,
    ]
    subprocess.run(command, check=True, capture_output=True)
