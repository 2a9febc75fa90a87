"""Rules that estimate the background threshold without masks, compared on the maps of a run.

    python benchmarks/background_threshold.py RUN [--split train]

Prints each rule's threshold, the mIoU of the maps there, and the loss against the best threshold,
which only masks can tell. The same is printed for photos with small, medium and large objects: a
rule that is right for one size by chance is wrong for the others. `tag2mask` uses Otsu's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from skimage.filters import threshold_isodata, threshold_otsu, threshold_yen

from tag2mask.artifacts.handles import CamMaps, PreparedData
from tag2mask.data.index import Sample, read_mask_paths
from tag2mask.maps.background_threshold import HISTOGRAM_BINS, ScoreHistogram
from tag2mask.maps.mapped_photos import MappedPhotos, mapped_photos
from tag2mask.metrics.threshold_curve import ThresholdCurve
from tag2mask.runtime.threads import ordered_map

THRESHOLDS = [i / 100 for i in range(100)]
CENTERS = (np.arange(HISTOGRAM_BINS) + 0.5) / HISTOGRAM_BINS
OBJECT_SHARES = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.45), (0.45, 1.01))


def li(counts: np.ndarray) -> float:
    """Return the threshold of minimum cross entropy (Li & Lee, 1993), found by iteration."""
    threshold = float(np.average(CENTERS, weights=counts))
    for _ in range(100):
        over = threshold < CENTERS
        mean_over = np.average(CENTERS[over], weights=counts[over])
        mean_under = np.average(CENTERS[~over], weights=counts[~over])
        threshold = float((mean_over - mean_under) / np.log(mean_over / mean_under))
    return threshold


def share_equals_threshold(counts: np.ndarray) -> float:
    """Return the threshold t that a share t of the pixels exceeds."""
    exceeding = 1 - np.cumsum(counts) / counts.sum()
    return float(CENTERS[np.argmin(np.abs(exceeding - CENTERS))])


RULES: dict[str, Callable[[np.ndarray], float]] = {
    "Otsu": lambda counts: threshold_otsu(hist=(counts, CENTERS)),
    "isodata": lambda counts: threshold_isodata(hist=(counts, CENTERS)),
    "Yen": lambda counts: threshold_yen(hist=(counts, CENTERS)),
    "Li": li,
    "mean": lambda counts: float(np.average(CENTERS, weights=counts)),
    "share = t": share_equals_threshold,
    "fixed 0.26": lambda counts: 0.26,
}


def measure(
    photos: MappedPhotos, samples: Sequence[Sample], masks: dict[str, Path], title: str
) -> None:
    """Print the table of the rules for some photos."""
    curve, histogram = ThresholdCurve.empty(photos.classes, THRESHOLDS), ScoreHistogram.empty()
    for sample, cam_map in zip(samples, ordered_map(photos.read, samples), strict=True):
        truth = photos.read_mask(masks[sample.id], sample)
        curve.add(truth, cam_map.tags, cam_map.full_scores())
        histogram.add(cam_map.scores)
    miou, (best, best_miou) = 100 * curve.miou(), curve.best()
    print(f"\n{title}: {len(samples)} photos, best {100 * best_miou:.2f} at {best:.2f}")
    for name, rule in RULES.items():
        threshold = rule(histogram.counts)
        at = miou[int(np.clip(round(100 * threshold), 0, 99))]
        print(f"  {name:14s} {threshold:5.3f}  mIoU {at:5.2f}  loses {miou.max() - at:5.2f}")


def main() -> None:
    """Parse the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--split", default="train")
    arguments = parser.parse_args()
    data = PreparedData.open(arguments.run / "prepare")
    maps = CamMaps.open(arguments.run / "infer-cam")
    photos = mapped_photos(data, maps)
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
