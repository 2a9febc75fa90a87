"""The background threshold that a step's section of the recipe asks for.

Used by every step that needs a background (``affinity-labels``, ``walk``, ``pseudo-masks``).
`tag2mask.maps.background_threshold` applies the threshold, `tag2mask.maps.calibration` finds it.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

from tag2mask.artifacts.files import write_json
from tag2mask.artifacts.handles import PreparedData, WalkedMaps
from tag2mask.artifacts.manifest import read_record
from tag2mask.maps.calibration import (
    WALKED_THRESHOLD,
    BackgroundThreshold,
    calibrated_threshold,
    estimated_threshold,
)
from tag2mask.maps.mapped_photos import MappedPhotos
from tag2mask.recipe.sections import ThresholdChoice
from tag2mask.runtime.session import Runtime

BACKGROUND = "background.json"


def choose_background_threshold(
    data: PreparedData, photos: MappedPhotos, section: ThresholdChoice, runtime: Runtime
) -> BackgroundThreshold:
    """Find the background threshold that a section of the recipe asks for, equal on all ranks.

    Args:
        data: the prepared data; only ``calibrated`` reads its masks.
        photos: photos with maps.
        section: where the threshold comes from.
        runtime: where to run.

    Raises:
        DataError: there is no photo to calibrate on, or its mask can't be used; no threshold can
            be estimated from the maps; a map is missing, damaged or of another photo.
    """
    if section.threshold_from == "auto" and photos.made_by == WalkedMaps.step:
        return BackgroundThreshold(WALKED_THRESHOLD, "walk")
    if section.threshold_from == "fixed":
        return BackgroundThreshold(section.background_threshold, "fixed")
    if section.threshold_from == "calibrated":
        return calibrated_threshold(data, photos, section.calibrate_photos, runtime)
    return estimated_threshold(photos, runtime, section=section.key)


def kept_background_threshold(
    folder: Path,
    data: PreparedData,
    photos: MappedPhotos,
    section: ThresholdChoice,
    runtime: Runtime,
) -> BackgroundThreshold:
    """Return the background threshold stored in a step's folder, or choose and store it.

    It is stored in ``background.json``: if it changed with every added photo, all photos would have
    to be processed again.

    Raises:
        DataError: see `choose_background_threshold`.
        RunFolderError: the file is damaged, or can't be written.
    """
    path = folder / BACKGROUND
    fix = "Delete the file: the threshold is then computed again."
    read = partial(read_record, path, BackgroundThreshold, fix=fix)
    kept = runtime.gather_results(lambda: read() if path.is_file() else None)[0]
    if kept is not None:
        return kept
    found = choose_background_threshold(data, photos, section, runtime)
    if runtime.rank == 0:
        write_json(path, asdict(found))
    return found
