"""Wall time of a complete run by step."""

from __future__ import annotations

import time
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.demo_run import run
from benchmarks.measure import Row
from tag2mask.artifacts.step_table import STEPS
from tag2mask.data.demo.scenes import make_demo_data

PHOTOS, SIDE = 96, 500
"""Number of photos and their long side, px."""


def seconds_of(step: str, *, toy: bool = False) -> Row:
    """Return a step's share of the run's time."""
    seconds = run_seconds(toy=toy)
    total = sum(seconds.values())
    return Row(seconds[step] / total, seconds[step], total, "s")


STEP_ROWS = {f"run_{kind.step.replace('-', '_')}": partial(seconds_of, kind.step) for kind in STEPS}


def run_photos(*, toy: bool = False) -> int:
    """Return the number of photos of the run."""
    return 12 if toy else PHOTOS


@cache
def run_seconds(*, toy: bool = False) -> dict[str, float]:
    """Return the seconds of each step of the default recipe, with one epoch per training."""
    with TemporaryDirectory(prefix="tag2mask-bench-") as name:
        folder = Path(name)
        make_demo_data(folder / "data", photos=run_photos(toy=toy), side=64 if toy else SIDE)
        start = time.time()
        run(
            folder,
            [
                "train_cam.warm_start=1",
                *(f"train_{what}.epochs=1" for what in ("cam", "affinity", "segmenter")),
            ],
            toy=toy,
        )
        # A step ends by writing its manifest: the time between two is that of the later step.
        ends = [(folder / "run" / kind.step / "manifest.json").stat().st_mtime for kind in STEPS]
        return {
            kind.step: end - begin
            for kind, begin, end in zip(STEPS, (start, *ends), ends, strict=False)
        }
