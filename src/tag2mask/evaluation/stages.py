"""The stages of a run: name and background threshold of each folder of maps or masks.

Stages are named as in the tables of the papers: CAM or SEAM, then ``+ walk`` and ``+ CRF``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tag2mask.artifacts.handles import (
    CLASS_THRESHOLDS,
    AnyMaps,
    CamMaps,
    Predictions,
    PreparedData,
    PseudoMaskFolder,
    WalkedMaps,
)
from tag2mask.evaluation.comparison import Stage
from tag2mask.evaluation.records import (
    CRF,
    GIVEN,
    NO_TAGS,
    NO_THRESHOLD,
    OWN_THRESHOLDS,
    SEGMENTER,
    WALK,
    maps_name,
)
from tag2mask.maps.background_threshold import threshold_from_alpha
from tag2mask.maps.mapped_photos import MappedPhotos, mapped_photos, tag_source
from tag2mask.maps.threshold_sources import BackgroundThreshold, estimated_threshold
from tag2mask.runtime.session import Runtime


def map_stages(
    data: PreparedData,
    maps: AnyMaps,
    photos: MappedPhotos,
    masks: PseudoMaskFolder,
    earlier: Sequence[AnyMaps],
    runtime: Runtime,
) -> tuple[Stage, ...]:
    """Return the stages that are maps: the earlier ones in order, then the maps of the masks.

    An earlier stage is evaluated at the background threshold that the random walk used for it; if
    no walk used it, at a threshold that is estimated from its maps.

    Args:
        data: the prepared data.
        maps: the maps that the masks were made from.
        photos: the photos with these maps.
        masks: the pseudo masks.
        earlier: other maps of the same photos.
        runtime: where to run.

    Raises:
        DataError: a photo has no earlier map, or no background threshold can be estimated.
    """
    stages: list[Stage] = []
    for handle in earlier:
        found = mapped_photos(data, handle)
        background = _walk_threshold(maps, handle) or estimated_threshold(found, runtime)
        stages.append(
            Stage(
                _name(handle, earlier),
                tag_source(handle),
                background.threshold,
                background.source,
                found,
            )
        )
    stages.append(Stage(_name(maps, earlier), tag_source(maps), *masks.background, photos))
    return tuple(_with_unique_names(stages))


def segmenter_stage(predictions: Predictions) -> Stage:
    """Return the stage of the segmentation network's masks."""
    name = with_crf(SEGMENTER) if refined_by_crf(predictions) else SEGMENTER
    return Stage(name, NO_TAGS, None, NO_THRESHOLD, predictions.path / "masks")


def given_stage(masks: PseudoMaskFolder) -> Stage:
    """Return the stage of masks whose maps aren't known."""
    return Stage(GIVEN, NO_TAGS, *masks.background, masks.path / "masks")


def refined_by_crf(masks: PseudoMaskFolder | Predictions) -> bool:
    """Return whether masks were refined by a dense CRF."""
    return bool(masks.manifest.section.get("crf", {}).get("enabled", False))


def refinements(masks: PseudoMaskFolder) -> list[str]:
    """Return what made the pseudo masks of their maps besides one background threshold."""
    found = [OWN_THRESHOLDS] if masks.manifest.metrics.get(CLASS_THRESHOLDS) else []
    return [*found, CRF] if refined_by_crf(masks) else found


def with_crf(name: str) -> str:
    """Return the name of a stage after a dense CRF."""
    return f"{name} + {CRF}"


def _name(handle: AnyMaps, earlier: Sequence[AnyMaps]) -> str:
    manifest = handle.manifest
    if isinstance(handle, CamMaps):
        return maps_name(manifest.metrics) or "maps"
    before = [other for other in earlier if isinstance(other, CamMaps)]
    origin = [other for other in before if _is_made_from(handle, other)] or before
    return f"{_name(origin[-1], ())} + {WALK}" if origin else WALK


def _is_made_from(walked: AnyMaps, maps: AnyMaps) -> bool:
    used = walked.manifest.coverage.get("maps")
    return used is not None and used.fingerprint == maps.fingerprint


def _walk_threshold(walked: AnyMaps, maps: AnyMaps) -> BackgroundThreshold | None:
    """Return the threshold that the walk used for these maps; None if it didn't use them."""
    if not isinstance(walked, WalkedMaps) or not _is_made_from(walked, maps):
        return None
    threshold = walked.manifest.metrics.get("background_threshold")
    if threshold is not None:
        return BackgroundThreshold(float(threshold), walked.metric("background_source"))
    alpha = float(walked.metric("alpha"))
    return BackgroundThreshold(round(threshold_from_alpha(alpha), 4), "fixed")


def _with_unique_names(stages: Sequence[Stage]) -> list[Stage]:
    """Number the stages whose name occurs before."""
    names = [stage.name for stage in stages]
    return [
        stage
        if stage.name not in names[:i]
        else replace(stage, name=f"{stage.name} {names[:i].count(stage.name) + 1}")
        for i, stage in enumerate(stages)
    ]
