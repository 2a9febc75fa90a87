"""The scores of one split, from its counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tag2mask.artifacts.handles import CLASS_THRESHOLDS, AnyMaps, PseudoMaskFolder
from tag2mask.data.index import Sample, group_of
from tag2mask.evaluation.comparison import Comparison, Stage
from tag2mask.evaluation.counts import MaskCounts, ResampledMasks, SplitCounts, StageCounts
from tag2mask.evaluation.cross_fit import cross_fit
from tag2mask.evaluation.photo_rates import photo_rates
from tag2mask.evaluation.records import (
    NO_TAGS,
    CrossFitted,
    MaskScores,
    PhotoRates,
    SplitScores,
    StageScores,
)
from tag2mask.evaluation.resampled import PSEUDO_MASKS
from tag2mask.evaluation.scores import doubtful_tag_records, mask_scores, tag_scores
from tag2mask.evaluation.stages import given_stage, refinements
from tag2mask.maps.mapped_photos import MappedPhotos, tag_source
from tag2mask.metrics.tag_scores import TagTable, doubtful_tags, tag_quality, tag_table


def split_scores(
    job: Comparison,
    counts: SplitCounts,
    split: str,
    samples: list[Sample],
    maps: AnyMaps | None,
    masks: PseudoMaskFolder,
) -> SplitScores:
    """Return the scores of a split.

    Args:
        job: what was compared.
        counts: the counts of the split.
        split: its name.
        samples: its photos, in the order of the counts.
        maps: the maps that the pseudo masks were made from; None: no maps are known.
        masks: the pseudo masks.

    Raises:
        DataError: a mask or map that calibrated the background threshold can't be read.
    """
    classes, section = job.classes, job.section
    published = section.behavior == "published"
    groups = [group_of(sample) for sample in samples]
    known = tag_table([sample.tags for sample in samples], len(classes))
    tagged = bool(known.any())
    has_maps = maps is not None and tagged
    probabilities = np.stack(counts.probabilities) if has_maps else np.empty(0, np.float32)
    stages = _stage_scores(job, counts, masks) if counts.masked else ()
    background_threshold, background_source = masks.background
    return SplitScores(
        split=split,
        photos=len(samples),
        tag_source=NO_TAGS if maps is None else tag_source(maps),
        background_threshold=background_threshold,
        background_source=background_source,
        masks=mask_scores(
            counts.masks.confusion,
            counts.masks.boundary,
            counts.made,
            classes.mask_names,
            counts.resampled[PSEUDO_MASKS],
            published=published,
        )
        if counts.made
        else None,
        curve=next((stage.curve for stage in reversed(stages) if stage.curve), None),
        tags=tag_scores(tag_quality(probabilities, known), len(samples), classes.names)
        if has_maps
        else None,
        doubtful_tags=doubtful_tag_records(
            doubtful_tags(probabilities, known), [sample.id for sample in samples], classes.names
        )
        if has_maps
        else (),
        stages=stages,
        evidence=counts.mean_evidence(),
        rates=_photo_rates(job, counts.areas, known, groups) if tagged else None,
        cross_fitted=_cross_fitted(job, counts, samples, masks),
        network=_network_scores(job, counts),
        class_thresholds=dict(masks.manifest.metrics.get(CLASS_THRESHOLDS, {})),
    )


def _network_scores(job: Comparison, counts: SplitCounts) -> MaskScores | None:
    """Return the scores of the network's masks; None where none was compared."""
    stage = job.network_stage
    if stage is None or not counts.masked:
        return None
    found = counts.stages[stage.name]
    assert isinstance(found, MaskCounts)
    return mask_scores(
        found.confusion,
        found.boundary,
        counts.masked,
        job.classes.mask_names,
        counts.resampled[stage.name],
        published=job.section.behavior == "published",
    )


def _cross_fitted(
    job: Comparison,
    counts: SplitCounts,
    samples: Sequence[Sample],
    masks: PseudoMaskFolder,
) -> CrossFitted | None:
    """Return the scores with the calibration photos at each other's thresholds.

    None where no photo of the split calibrated the threshold, where there are too few to be halved,
    where more than a threshold was applied to the maps (a dense CRF, thresholds of classes, unsure
    pixels), and without maps.
    """
    if refinements(masks) or masks.manifest.section.get("unsure_below") is not None:
        return None
    if not isinstance(job.photos, MappedPhotos):
        return None
    chosen = [
        sample for sample in samples if sample.id in job.calibrated and sample.id in job.truths
    ]
    fit = cross_fit(job.photos, chosen, job.truths)
    if fit is None:
        return None
    total = ResampledMasks.empty(len(job.classes))
    total.merge(counts.others)
    for sample in chosen:
        total.add(group_of(sample), fit.cells[sample.id])
    scores = mask_scores(
        total.confusion,
        None,
        counts.masked,
        job.classes.mask_names,
        total.tallies,
        published=job.section.behavior == "published",
    )
    return CrossFitted(len(chosen), fit.thresholds, scores)


def _photo_rates(
    job: Comparison,
    found: Sequence[dict[str, float] | None],
    known: TagTable,
    groups: Sequence[str],
) -> PhotoRates | None:
    """Return the network's rates against the tags; None where it predicted no photo."""
    predicted = [place for place, own in enumerate(found) if own is not None]
    if not predicted:
        return None
    names = job.classes.names
    areas = np.array([[own.get(name, 0.0) for name in names] for own in found if own is not None])
    own_groups = [groups[place] for place in predicted]
    return photo_rates(areas, known[predicted], own_groups, names, job.section.min_area)


def _stage_scores(
    job: Comparison, counts: SplitCounts, masks: PseudoMaskFolder
) -> tuple[StageScores, ...]:
    """Return the scores of every stage; pseudo masks not made by one threshold are another one.

    So are masks without maps, unless some of the photos have none: stages are of the same photos.
    """
    found: list[tuple[Stage, StageCounts, str]] = [
        (stage, counts.stages[stage.name], stage.name) for stage in job.stages
    ]
    if not isinstance(job.photos, MappedPhotos):
        if counts.made == counts.masked:
            found.insert(0, (given_stage(masks), counts.masks, PSEUDO_MASKS))
    elif applied := refinements(masks):
        place = max(
            i for i, stage in enumerate(job.stages) if isinstance(stage.content, MappedPhotos)
        )
        last = job.stages[place]
        refined = replace(last, name=" + ".join([last.name, *applied]))
        found.insert(place + 1, (refined, counts.masks, PSEUDO_MASKS))
    return tuple(
        stage.scores(total, counts.masked, job.section, counts.resampled[name])
        for stage, total, name in found
    )
