"""Mean of the maps of several runs, each class normalized by its maximum.

    python -m benchmarks.experiments.tags_alone.ensemble RUN SOURCE [SOURCE...]

RUN is a run up to ``infer-cam``; the maps there are replaced by the means of the maps of all
SOURCEs, other runs on the same photos. Its later steps are then made by ``tag2mask run --out RUN``.
Repeated, the command changes nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tag2mask.artifacts.handles import CamMaps
from tag2mask.errors import DataError
from tag2mask.maps.cam_map import MAP_SUFFIX, CamMap, read_map, write_map


def mean_map(maps: Sequence[CamMap]) -> CamMap:
    """Return the mean of maps of one photo.

    The scores of each class are divided by their maximum before and after the mean, so that all
    runs count the same and thresholds keep their meaning.

    Raises:
        DataError: maps of different photos, tags, classes or grids.
    """
    first = maps[0]
    kinds = {(own.id, own.tags, own.scores.shape, len(own.probabilities)) for own in maps}
    if len(kinds) > 1:
        raise DataError(
            f"maps of {first.id!r} have different tags, classes or sizes",
            fix="Give runs on the same data with the same infer_cam.map_stride.",
        )
    scores = _mean([_normalized(own.scores) for own in maps])
    probabilities = _mean([own.probabilities for own in maps])
    return replace(first, scores=_normalized(scores), probabilities=probabilities)


def _mean(values: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.stack(values).mean(axis=0, dtype=np.float32)
    return found


def _normalized(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide the scores of each class by their maximum; those that are 0 everywhere stay 0."""
    if not scores.size:
        return scores
    highest = scores.max(axis=(1, 2), keepdims=True)
    found = np.zeros_like(scores)
    np.divide(scores, highest, out=found, where=highest > 0)
    return found


def average_maps(run: Path, sources: Sequence[Path]) -> int:
    """Replace the maps of a run; return how many changed.

    Raises:
        DataError: a map is missing, damaged or of something else.
        RunFolderError: no ``infer-cam`` folder, or it can't be written.
    """
    target = CamMaps.open(run / CamMaps.step).path / "maps"
    folders = [CamMaps.open(source / CamMaps.step).path / "maps" for source in sources]
    changed = 0
    for file in sorted(target.rglob(f"*{MAP_SUFFIX}")):
        name = file.relative_to(target)
        mean, old = mean_map([read_map(folder / name) for folder in folders]), read_map(file)
        # Later steps redo the photos whose map is written again.
        if not np.array_equal(mean.as_stored().scores, old.scores):
            write_map(file, mean)
            changed += 1
    return changed


def main() -> None:
    """Replace the maps of a run and print how many changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("sources", type=Path, nargs="+", metavar="SOURCE")
    options = parser.parse_args()
    print(f"{average_maps(options.run, options.sources)} maps changed")


if __name__ == "__main__":
    main()
