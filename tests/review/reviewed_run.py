"""A run of small photos with pseudo masks and predictions that were not trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from small_runs import recipe, write_photos
from tag2mask.artifacts.handles import CamMaps, Predictions, PreparedData, PseudoMaskFolder
from tag2mask.artifacts.step_folder import step_folder
from tag2mask.classes import ClassSet
from tag2mask.data.index import Sample, read_classes, read_index
from tag2mask.data.masks import write_mask
from tag2mask.maps.cam_map import CamMap, write_map
from tag2mask.steps.prepare import prepare

CLASSES = ClassSet(("cat", "dog", "bird"))


def reviewed_run(folder: Path, count: int = 12) -> Path:
    """Write a run: pseudo masks have the first tag on the left half, the network on a third."""
    photos = folder / "photos"
    if not photos.is_dir():
        write_photos(photos, count)
    run = folder / "run"
    data = prepare(photos, recipe().prepare, run / PreparedData.step)
    masks_of_step(PseudoMaskFolder, data, run, share=2)
    masks_of_step(Predictions, data, run, share=3)
    with step_folder(CamMaps, run / CamMaps.step, section={}, coverage={"data": data}) as step:
        for sample in every_sample(data):
            write_map(step.path / "maps" / f"{sample.id}.npz", halves(sample))
        step.finish(metrics={"tags": "known", "classes": list(CLASSES.names)})
    return run


def every_sample(data: PreparedData) -> list[Sample]:
    return [sample for split in ("train", "val") for sample in read_index(data.path, split)]


def halves(sample: Sample) -> CamMap:
    """Return maps whose scores fall from left to right, more or less certain by the photo."""
    certainty = 0.5 + 0.5 * (int(sample.id[-2:]) % 5) / 4
    row = np.linspace(certainty, 0, 8, dtype=np.float32)
    scores = np.broadcast_to(row, (len(sample.tags), 6, 8)).copy()
    probabilities = np.full(len(CLASSES), 0.1, np.float32)
    probabilities[list(sample.tags)] = 0.5 + 0.4 * certainty
    return CamMap(sample.id, sample.tags, scores, sample.size, probabilities)


def masks_of_step(
    kind: type[PseudoMaskFolder | Predictions], data: PreparedData, run: Path, *, share: int
) -> None:
    """Write a step's folder of masks with the first tag on a share of each photo."""
    section = {"share": share}
    with step_folder(kind, run / kind.step, section=section, coverage={"data": data}) as step:
        for sample in every_sample(data):
            write_mask(
                step.path / "masks" / f"{sample.id}.png", mask_of(sample, share), CLASSES.colors
            )
        names = list(read_classes(data.path).names)
        step.finish(metrics={"classes": names, "background_threshold": 0.4})


def mask_of(sample: Sample, share: int) -> np.ndarray:
    mask = np.zeros(sample.size, np.uint8)
    if sample.tags:
        mask[:, : sample.size[1] // share] = 1 + sample.tags[0]
    return mask
