"""Train with changed settings and evaluate the maps of a fixed list of 200 training photos.

    python benchmarks/tune_cam.py DATA OUT [--set train_cam.epochs=3 ...] [--model MODEL_FOLDER]
                                 [--branches refined]

DATA is a VOC-like folder. Trains on its complete training split, computes the maps of the listed
photos only, and prints the mIoU at the best background threshold with precision and recall of the
foreground, for the plain and the refined map or one of them. The list is a sample of the training
split (seed 0), so settings are chosen without validation photos. ``--model`` evaluates a trained
model instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tag2mask.artifacts.handles import CamModel, PreparedData
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.data.index import (
    data_root,
    read_classes,
    read_index,
    read_mask_paths,
    write_index,
    write_source,
)
from tag2mask.data.masks import read_mask
from tag2mask.files.json_file import write_json
from tag2mask.maps.cam_map import read_map
from tag2mask.metrics.threshold_curve import ThresholdCurve
from tag2mask.recipe.loading import load_recipe
from tag2mask.recipe.schema import Recipe
from tag2mask.runtime.session import Runtime
from tag2mask.steps.infer_cam import infer_cam
from tag2mask.steps.prepare import prepare
from tag2mask.steps.train_cam import train_cam

LIST = Path(__file__).with_name("voc12_tune200.txt")
THRESHOLDS = [i / 100 for i in range(100)]


def prepare_subset(data: PreparedData, ids: set[str], out: Path) -> PreparedData:
    """Write a prepared folder of some of the training photos."""
    with step_folder(
        PreparedData, out, section={"photos": sorted(ids)}, inputs={"data": data}
    ) as step:
        if not step.complete:
            samples = [s for s in read_index(data.path, "train") if s.id in ids]
            write_json(out / "classes.json", {"names": list(read_classes(data.path).names)})
            write_source(out, "voc", data_root(data.path))
            write_index(out, "train", samples, data_root(data.path))
            write_index(out, "val", [], data_root(data.path))
            step.finish(counts={"train": len(samples)})
        return step.handle


def describe_scores(data: PreparedData, masks: dict[str, Path], maps: Path) -> str:
    """Return mIoU at the best background threshold, precision and recall of the foreground."""
    classes = len(read_classes(data.path))
    curve = ThresholdCurve.empty(classes, THRESHOLDS)
    for sample in read_index(data.path, "train"):
        cam = read_map(maps / f"{sample.id}.npz")
        curve.add(read_mask(masks[sample.id], classes), cam.tags, cam.full_scores())
    threshold, miou = curve.best()
    counts = curve.confusion(THRESHOLDS.index(threshold)).counts
    correct = np.trace(counts[1:, 1:])
    return (
        f"mIoU {100 * miou:.2f} at {threshold:.2f}, precision "
        f"{100 * correct / counts[:, 1:].sum():.1f}, recall {100 * correct / counts[1:].sum():.1f}"
    )


def main() -> None:
    """Train, or open a model, and print the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipe", default="lite0-cpu")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--branches", nargs="+", choices=["plain", "refined"])
    options = parser.parse_args()
    recipe: Recipe = load_recipe(options.recipe, options.overrides)
    runtime = Runtime.start(workers=recipe.runtime.workers)
    data = prepare(options.data, recipe.prepare, options.out / "prepare")
    model = (
        CamModel.open(options.model)
        if options.model
        else train_cam(data, recipe.train_cam, options.out / "train-cam", runtime)
    )
    subset = prepare_subset(data, set(LIST.read_text().split()), options.out / "listed")
    branches = ["plain", "refined"] if recipe.train_cam.pcm.enabled else ["plain"]
    for branch in options.branches or branches:
        section = recipe.infer_cam.model_copy(update={"branch": branch, "splits": ("train",)})
        maps = infer_cam(subset, model, section, options.out / f"maps-{branch}", runtime)
        print(
            branch,
            describe_scores(subset, read_mask_paths(data.path), maps.path / "maps"),
            flush=True,
        )


if __name__ == "__main__":
    main()
