"""Peak memory of a complete run: with many photos, compared with a quarter of them.

Each run is a separate process: `python -m benchmarks.run_memory DATA RUN [SETTING ...]`. The photos
are tiny and the recipe is short, so that memory per photo would be visible.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.demo_run import TOY
from benchmarks.measure import Row
from benchmarks.peak import measured_apart, peak_kib
from benchmarks.small_photos import write_photos
from tag2mask.pipeline.run import run
from tag2mask.recipe.loading import load_recipe

PHOTOS = 1000
SHARE = 4


def many_vs_quarter(*, toy: bool = False) -> Row:
    """Compare the peaks of runs with `PHOTOS` photos and with a quarter of them."""
    photos = 40 if toy else PHOTOS
    with TemporaryDirectory(prefix="tag2mask-bench-") as folder:
        ours, other = (
            _measured(Path(folder) / str(count), count, TOY if toy else ())
            for count in (photos, photos // SHARE)
        )
    return Row.of([ours], [other], unit="MiB")


def peak_mib(data: Path, out: Path, settings: Sequence[str]) -> float:
    """Run the recipe ``tiny`` and return the peak memory of this process, MiB."""
    run(data, load_recipe("tiny", ["prepare.val_split=null", "runtime.workers=0", *settings]), out)
    return peak_kib() / 1024


def _measured(folder: Path, photos: int, settings: Sequence[str]) -> float:
    write_photos(folder / "data", photos)
    data, out = folder / "data", folder / "run"
    (mib,) = measured_apart("benchmarks.run_memory", data, out, *settings)
    return mib


if __name__ == "__main__":
    print(peak_mib(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
