"""The steps' own work, without networks: one step per process.

``python -m benchmarks.growth_steps STEP FOLDER`` runs a step on the photos in ``FOLDER/data`` and
prints the processor seconds that it took and the peak memory of the process. Maps are written by
script, and the network of ``predict`` returns the same probabilities for every pixel. Imports of a
step are inside its function, so that the memory is that of the step.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peak import peak_kib
from benchmarks.small_photos import CLASSES
from tag2mask.artifacts.handles import (
    CamMaps,
    Evaluation,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    ReportPage,
)
from tag2mask.classes import ClassSet
from tag2mask.recipe.maps_to_masks import PseudoMasks
from tag2mask.recipe.sections import Evaluate, Predict, Prepare, Report

Call = Callable[[], object]
"""A step's work, without the imports and the opening of folders."""
_EXPORT = "cvat"


class FlatSegmenter:
    """A network that returns the same probabilities for every pixel."""

    classes = ClassSet(CLASSES)
    mean = std = (0.5, 0.5, 0.5)
    size_multiple = 8
    takes_any_size = False
    long_side = 32
    caller_threads = 2
    batched = False

    def probabilities(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities."""
        shape = (images.shape[0], len(CLASSES) + 1, *images.shape[2:])
        return np.full(shape, 1 / shape[1], np.float32)


def _prepare(root: Path) -> Call:
    from tag2mask.steps.prepare import prepare

    section = Prepare(val_fraction=0.0)  # maps are of training photos
    return lambda: prepare(root / "data", section, root / "run" / PreparedData.step)


def _check(root: Path) -> Call:
    from tag2mask.data.checks.data_folder import check_data

    return lambda: check_data(root / "data")


def _maps(root: Path) -> Call:
    """Write a map per photo, which shows its classes in squares."""
    from tag2mask.artifacts.step_folder import step_folder
    from tag2mask.data.index import read_index
    from tag2mask.maps.cam_map import CamMap, write_map

    data, out = PreparedData.open(root / "run" / PreparedData.step), root / "run" / CamMaps.step
    samples = read_index(data.path, "train")

    def write() -> None:
        with step_folder(CamMaps, out, section={}, coverage={"data": data}) as step:
            for sample in samples:
                scores = np.zeros((len(sample.tags), 6, 8), np.float32)
                for row, tag in enumerate(sample.tags):
                    scores[row, 1:5, tag : tag + 4] = 1 / (row + 1)
                probabilities = np.full(len(CLASSES), 0.1, np.float32)
                probabilities[list(sample.tags)] = 0.9
                cam_map = CamMap(sample.id, sample.tags, scores, sample.size, probabilities)
                write_map(out / "maps" / f"{sample.id}.npz", cam_map)
            metrics = {"tags": "known", "classes": list(CLASSES)}
            step.finish(counts={"photos": len(samples)}, metrics=metrics)

    return write


def _pseudo_masks(root: Path) -> Call:
    from tag2mask.runtime.session import Runtime
    from tag2mask.steps.pseudo_masks import pseudo_masks

    run, section = root / "run", PseudoMasks(threshold_from="fixed")
    data, maps = PreparedData.open(run / PreparedData.step), CamMaps.open(run / CamMaps.step)
    runtime = Runtime.start(device="cpu", workers=0)
    return lambda: pseudo_masks(data, maps, section, run / PseudoMaskFolder.step, runtime)


def _unfinished_masks(root: Path) -> Call:
    """Return a call that finds all masks written, but their folder not complete."""
    out = root / "run" / PseudoMaskFolder.step
    (out / "manifest.json").replace(out / "started.json")
    return _pseudo_masks(root)


def _evaluate(root: Path) -> Call:
    from tag2mask.runtime.session import Runtime
    from tag2mask.steps.evaluate import evaluate

    run = root / "run"
    data, maps = PreparedData.open(run / PreparedData.step), CamMaps.open(run / CamMaps.step)
    masks = PseudoMaskFolder.open(run / PseudoMaskFolder.step)
    runtime = Runtime.start(device="cpu", workers=0)
    return lambda: evaluate(data, maps, masks, Evaluate(), run / Evaluation.step, runtime)


def _report(root: Path) -> Call:
    from tag2mask.steps.report import report

    return lambda: report(root / "run", Report(), root / "run" / ReportPage.step)


def _status(root: Path) -> Call:
    from tag2mask.pipeline.status import status

    return lambda: status(root / "run")


def _predict(root: Path) -> Call:
    from tag2mask.data.photo_files import list_photos
    from tag2mask.steps.predict import predict

    folders = sorted((root / "data").glob("[0-9]*"))
    out = root / "run" / Predictions.step
    return lambda: predict(list_photos(folders), FlatSegmenter(), Predict(), out, model="flat")


def _export_masks(root: Path) -> Call:
    from tag2mask.steps.mask_exchange.export import export_masks
    from tag2mask.steps.mask_exchange.sources import open_masks
    from tag2mask.steps.mask_exchange.targets import TARGETS

    masks = root / "run" / PseudoMaskFolder.step
    return lambda: export_masks(open_masks(masks), TARGETS["cvat"], root / _EXPORT)


def _import_masks(root: Path) -> Call:
    from tag2mask.steps.mask_exchange.importing import DRAWN, ImportOptions, import_masks
    from tag2mask.steps.mask_exchange.readers import find_mask_files

    data = PreparedData.open(root / "run" / PreparedData.step)

    def take_in() -> object:
        files = find_mask_files(root / _EXPORT, ClassSet(CLASSES))
        return import_masks(files, data, ImportOptions(DRAWN), root / "imported")

    return take_in


def _prepare_cvat(root: Path) -> Call:
    """Prepare the exported photos with their XML, and draw its masks."""
    from tag2mask.steps.prepare import prepare

    section = Prepare(val_fraction=0.0)
    return lambda: prepare(root / _EXPORT, section, root / "prepared")


STEPS: dict[str, Callable[[Path], Call]] = {
    "prepare": _prepare,
    "prepare_again": _prepare,
    "data_check": _check,
    "maps": _maps,
    "pseudo_masks": _pseudo_masks,
    "pseudo_masks_again": _pseudo_masks,
    "pseudo_masks_resumed": _unfinished_masks,
    "evaluate": _evaluate,
    "report": _report,
    "status": _status,
    "predict": _predict,
    "predict_again": _predict,
    "masks_export": _export_masks,
    "masks_import": _import_masks,
    "prepare_cvat": _prepare_cvat,
}
"""What is measured, in order; each reads the folders of those before it."""


def run_step(step: str, root: Path) -> tuple[float, float]:
    """Run a step; return the processor seconds of its threads and the process's peak, MiB."""
    call = STEPS[step](root)
    start = time.process_time()
    call()
    return time.process_time() - start, peak_kib() / 1024


if __name__ == "__main__":
    print(*run_step(sys.argv[1], Path(sys.argv[2])))
