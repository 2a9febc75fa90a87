"""The background threshold that a step's section of the recipe asks for.

Used by every step that needs a background (``affinity-labels``, ``walk``, ``pseudo-masks``).
`tag2mask.maps.threshold_sources` finds the threshold, `tag2mask.maps.background_threshold` applies
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tag2mask.artifacts.handles import PreparedData, WalkedMaps
from tag2mask.artifacts.manifest import read_record
from tag2mask.data.corrections.folder import CORRECTIONS, corrections_of
from tag2mask.data.index import masks_fingerprint
from tag2mask.errors import RecipeError, nearest_hint
from tag2mask.files.json_file import write_json
from tag2mask.maps.mapped_photos import MappedPhotos
from tag2mask.maps.threshold_sources import (
    WALKED_THRESHOLD,
    BackgroundThreshold,
    calibrated_threshold,
    corrected_masks,
    estimated_threshold,
)
from tag2mask.recipe.maps_to_masks import PseudoMasks, ThresholdChoice
from tag2mask.runtime.session import Runtime

BACKGROUND = "background.json"
ENOUGH_MASKS = 10
"""Drawn and accepted masks from which on ``auto`` calibrates."""


@dataclass(frozen=True)
class ClassThresholds:
    """The background threshold of each class.

    Attributes:
        common: of the classes without one of their own.
        own: those of the others, by tag id.
    """

    common: float
    own: Mapping[int, float]

    def of(self, tags: Sequence[int]) -> float | list[float]:
        """Return the thresholds of a photo's tags; the common one if no class has its own."""
        return [self.own.get(tag, self.common) for tag in tags] if self.own else self.common


def class_thresholds(section: PseudoMasks, names: Sequence[str], common: float) -> ClassThresholds:
    """Return the background thresholds of the classes.

    Args:
        section: settings, whose class names were checked.
        names: the classes (C).
        common: the threshold of classes that have none of their own.
    """
    own = section.class_thresholds
    return ClassThresholds(
        common, {tag: own[name] for tag, name in enumerate(names) if name in own}
    )


def check_class_thresholds(section: PseudoMasks, names: Sequence[str]) -> None:
    """Check that background thresholds are of classes that the data has.

    Raises:
        RecipeError: naming those that it lacks.
    """
    unknown = [name for name in section.class_thresholds if name not in names]
    if unknown:
        listed = ", ".join(repr(name) + nearest_hint(name, names) for name in unknown[:5])
        raise RecipeError(
            f"no class of the data: {listed}"
            + (f"; and {len(unknown) - 5} more" if len(unknown) > 5 else ""),
            where=f"{section.key}.class_thresholds",
            fix="`tag2mask data check` lists the classes.",
        )


def choose_background_threshold(
    data: PreparedData, photos: MappedPhotos, section: ThresholdChoice, runtime: Runtime
) -> BackgroundThreshold:
    """Find the background threshold that a section of the recipe asks for, equal on all ranks.

    Args:
        data: the prepared data; only a calibration reads its masks.
        photos: photos with maps.
        section: where the threshold comes from.
        runtime: where to run.

    Raises:
        DataError: there is no photo to calibrate on, or its mask can't be used; no threshold can
            be estimated from the maps; a map is missing, damaged or of another photo.
    """
    if is_calibrated(data, section):
        return calibrated_threshold(data, photos, section.calibrate_photos, runtime)
    if section.threshold_from == "auto" and photos.made_by == WalkedMaps.step:
        return BackgroundThreshold(WALKED_THRESHOLD, "walk")
    if section.threshold_from == "fixed":
        return BackgroundThreshold(section.background_threshold, "fixed")
    return estimated_threshold(photos, runtime, section=section.key)


def is_calibrated(data: PreparedData, section: ThresholdChoice) -> bool:
    """Return whether a section of the recipe asks for a calibration on masks."""
    if section.threshold_from == "auto":
        return len(corrected_masks(data)) >= ENOUGH_MASKS
    return section.threshold_from == "calibrated"


def calibration_inputs(data: PreparedData) -> dict[str, str]:
    """Return the fingerprint of the masks of a calibration, by name, as inputs of a folder."""
    if masks := corrected_masks(data):
        return {CORRECTIONS: corrections_of(data.path).label_fingerprint(masks)}
    return {"ground truth": masks_fingerprint(data.path)}


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
