"""What a run's folders of maps are called, and which background threshold each is held against.

The stages of a run are named as in the papers' tables: CAM or SEAM, with ``+ walk`` and ``+ CRF``
for what was done to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tag2mask.artifacts.handles import (
    AnyMaps,
    CamMaps,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    WalkedMaps,
)
from tag2mask.evaluation.comparison import Stage
from tag2mask.evaluation.records import CRF, NO_SCORE, NO_TAGS, SEGMENTER, WALK, maps_name
from tag2mask.maps.background import threshold_from_alpha
from tag2mask.maps.background_choice import BackgroundThreshold, estimated_threshold
from tag2mask.maps.mapped_photos import MappedPhotos, mapped_photos, tag_source
from tag2mask.runtime.session import Runtime


def map_stages(
    data: PreparedData,
    maps: AnyMaps,
    photos: MappedPhotos,
    masks: PseudoMaskFolder,
    earlier: Sequence[AnyMaps],
    runtime: Runtime,
) -> tuple[Stage, ...]:
    """The stages that are maps: the earlier ones as given, then those that the masks are made of.

    An earlier one is held against the background threshold that the walk took for it; where no walk
    did, against one that is estimated from its maps.

    Args:
        data: the prepared data.
        maps: that the masks were made of.
        photos: the photos that have these maps.
        masks: the pseudo masks.
        earlier: other maps of the same photos.
        runtime: where to run.

    Raises:
        DataError: a photo has no earlier map; one from which no background threshold can be
        estimated.
    """
    stages: list[Stage] = []
    for handle in earlier:
        found = mapped_photos(data, handle)
        background = _threshold_of_the_walk(maps, handle) or estimated_threshold(found, runtime)
        stages.append(
            Stage(
                _name(handle, earlier),
                tag_source(handle),
                background.threshold,
                background.source,
                found,
            )
        )
    metrics = masks.manifest.metrics
    threshold = metrics.get("background_threshold")
    stages.append(
        Stage(
            _name(maps, earlier),
            tag_source(maps),
            None if threshold is None else float(threshold),
            str(metrics.get("background_source", "unknown")),
            photos,
        )
    )
    return tuple(_told_apart(stages))


def predicted_stage(predictions: Predictions) -> Stage:
    """The segmentation network's masks."""
    name = SEGMENTER
    if predictions.manifest.section.get("crf", {}).get("enabled", False):
        name = with_crf(name)
    return Stage(name, NO_TAGS, None, NO_SCORE, predictions.path / "masks")


def sharpened_by_crf(masks: PseudoMaskFolder) -> bool:
    """Whether the pseudo masks were made through a dense CRF."""
    return bool(masks.manifest.section.get("crf", {}).get("enabled", False))


def with_crf(name: str) -> str:
    """The name of a stage after a dense CRF."""
    return f"{name} + {CRF}"


def _name(handle: AnyMaps, earlier: Sequence[AnyMaps]) -> str:
    manifest = handle.manifest
    if isinstance(handle, CamMaps):
        return maps_name(manifest.metrics) or "maps"
    before = [other for other in earlier if isinstance(other, CamMaps)]
    origin = [other for other in before if _is_made_of(handle, other)] or before
    return f"{_name(origin[-1], ())} + {WALK}" if origin else WALK


def _is_made_of(walked: AnyMaps, maps: AnyMaps) -> bool:
    used = walked.manifest.coverage.get("maps")
    return used is not None and used.fingerprint == maps.fingerprint


def _threshold_of_the_walk(walked: AnyMaps, maps: AnyMaps) -> BackgroundThreshold | None:
    """What the walk held these maps against; None where it did not take them."""
    if not isinstance(walked, WalkedMaps) or not _is_made_of(walked, maps):
        return None
    metrics = walked.manifest.metrics
    if "background_threshold" in metrics:
        return BackgroundThreshold(
            float(metrics["background_threshold"]), metrics["background_source"]
        )
    return BackgroundThreshold(round(threshold_from_alpha(float(metrics["alpha"])), 4), "fixed")


def _told_apart(stages: Sequence[Stage]) -> list[Stage]:
    """The stages, those of a name that was there before with a number."""
    names = [stage.name for stage in stages]
    return [
        stage
        if stage.name not in names[:i]
        else replace(stage, name=f"{stage.name} {names[:i].count(stage.name) + 1}")
        for i, stage in enumerate(stages)
    ]
