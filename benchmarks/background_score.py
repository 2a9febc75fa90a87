"""Rules that estimate the background threshold without masks, on the maps of a run.

    python benchmarks/background_threshold.py RUN [--split train]

Prints for each rule its score, the mIoU of the maps there, and what it loses against the best,
which only masks can tell; then the same for photos with small, middling and large objects apart: a
rule that hits one size by chance misses the others. `tag2mask` uses Otsu's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from skimage.filters import threshold_isodata, threshold_otsu, threshold_yen

from tag2mask.artifacts.handles import CamMaps, PreparedData
from tag2mask.data.index import Sample, read_classes, read_mask_paths
from tag2mask.maps.background import HISTOGRAM_BINS, ScoreHistogram
from tag2mask.maps.mapped_photos import MappedPhotos, mapped_photos
from tag2mask.metrics.threshold_curve import ThresholdCurve
from tag2mask.runtime.threads import ordered_map

SCORES = [i / 100 for i in range(100)]
CENTRES = (np.arange(HISTOGRAM_BINS) + 0.5) / HISTOGRAM_BINS
OBJECT_SHARES = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.45), (0.45, 1.01))


def li(counts: np.ndarray) -> float:
    """Minimum cross entropy (Li & Lee, 1993), by iteration."""
    threshold = float(np.average(CENTRES, weights=counts))
    for _ in range(100):
        over = threshold < CENTRES
        mean_over = np.average(CENTRES[over], weights=counts[over])
        mean_under = np.average(CENTRES[~over], weights=counts[~over])
        threshold = float((mean_over - mean_under) / np.log(mean_over / mean_under))
    return threshold


def share_equals_score(counts: np.ndarray) -> float:
    """The score t that a share t of the pixels exceeds."""
    exceeding = 1 - np.cumsum(counts) / counts.sum()
    return float(CENTRES[np.argmin(np.abs(exceeding - CENTRES))])


RULES: dict[str, Callable[[np.ndarray], float]] = {
    "Otsu": lambda counts: threshold_otsu(hist=(counts, CENTRES)),
    "isodata": lambda counts: threshold_isodata(hist=(counts, CENTRES)),
    "Yen": lambda counts: threshold_yen(hist=(counts, CENTRES)),
    "Li": li,
    "mean": lambda counts: float(np.average(CENTRES, weights=counts)),
    "share = score": share_equals_score,
    "fixed 0.26": lambda counts: 0.26,
}


def measure(
    photos: MappedPhotos, samples: Sequence[Sample], masks: dict[str, Path], title: str
) -> None:
    """Print the rules' table for some photos."""
    curve, histogram = ThresholdCurve.empty(photos.classes, SCORES), ScoreHistogram.empty()
    for sample, cam_map in zip(samples, ordered_map(photos.read, samples), strict=True):
        truth = photos.read_mask(masks[sample.id], sample)
        curve.add(truth, cam_map.tags, cam_map.full_scores())
        histogram.add(cam_map.scores)
    miou, (best, best_miou) = 100 * curve.miou(), curve.best()
    print(f"\n{title}: {len(samples)} photos, best {100 * best_miou:.2f} at {best:.2f}")
    for name, rule in RULES.items():
        score = rule(histogram.counts)
        at = miou[int(np.clip(round(100 * score), 0, 99))]
        print(f"  {name:14s} {score:5.3f}  mIoU {at:5.2f}  loses {miou.max() - at:5.2f}")


def main() -> None:
    """Parse the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--split", default="train")
    arguments = parser.parse_args()
    data = PreparedData.open(arguments.run / "prepare")
    maps = CamMaps.open(arguments.run / "infer-cam")
    photos = mapped_photos(data, maps, len(read_classes(data.path)))
    masks = read_mask_paths(data.path)
    samples = [s for s in photos.splits[arguments.split] if s.id in masks and s.tags]
    measure(photos, samples, masks, f"{arguments.split}, all")

    def object_share(sample: Sample) -> float:
        truth = photos.read_mask(masks[sample.id], sample)
        return float(((truth > 0) & (truth < 255)).mean())

    shares = list(ordered_map(object_share, samples))
    for low, high in OBJECT_SHARES:
        chosen = [s for s, share in zip(samples, shares, strict=True) if low <= share < high]
        if chosen:
            measure(photos, chosen, masks, f"objects on {low:.0%} to {min(high, 1):.0%} of a photo")


if __name__ == "__main__":
    main()
