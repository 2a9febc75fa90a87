"""Take masks of people or of another model in: ``tag2mask masks import``.

Writes a folder that later steps take like that of ``pseudo-masks``; its manifest says who made the
masks. All photos are compared with the data before the first mask is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

from tag2mask.artifacts.deletion import remove_step_folder
from tag2mask.artifacts.handles import IMPORTED, PreparedData, PseudoMaskFolder
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.artifacts.sub_folders import decide_sub_folders, use_sub_folders
from tag2mask.classes import BACKGROUND, IGNORE, mask_id, tag_id_of_mask
from tag2mask.data.index import Sample, read_classes
from tag2mask.data.masks import mask_path, write_mask
from tag2mask.errors import (
    DataError,
    ProblemsError,
    RunFolderError,
    counted,
    first_few,
    nearest_hint,
)
from tag2mask.files.digests import file_digest
from tag2mask.formats.annotations import Region
from tag2mask.runtime.progress import ProgressBar
from tag2mask.steps.mask_exchange.import_counts import ImportCounts
from tag2mask.steps.mask_exchange.matching import DataPhotos, MatchedPhotos
from tag2mask.steps.mask_exchange.merge import RegionMerger
from tag2mask.steps.mask_exchange.readers import MaskFiles

DRAWN, MODEL = "drawn", "model:"
"""Provenance of masks: drawn by people, or made by a model, whose name follows."""


@dataclass(frozen=True)
class ImportOptions:
    """How masks are taken in.

    Attributes:
        made_by: `DRAWN`, or `MODEL` and a name.
        names: our class by their label; an empty one leaves the label out.
        min_score: regions with a lower score are left out, those without a score are not; None:
            none are.
        gate_by_tags: regions of classes that the photo's tags lack are left out.
    """

    made_by: str
    names: Mapping[str, str] = field(default_factory=dict)
    min_score: float | None = None
    gate_by_tags: bool = False


def import_masks(
    files: MaskFiles, data: PreparedData, options: ImportOptions, out: Path
) -> PseudoMaskFolder:
    """Make a folder of masks from files of another tool.

    Args:
        files: the masks.
        data: the photos and classes that they are of.
        options: how they are taken in.
        out: folder to write.

    Raises:
        ProblemsError: naming every photo that isn't in the data or has another size, and every
            label that is no class; or every photo with a damaged region. Nothing is left of a
            folder that didn't exist.
        DataError: the files can't be read.
        RunFolderError: ``out`` was made from other files or settings, or can't be written.
    """
    classes = read_classes(data.path)
    photos = DataPhotos(data, classes, options.names)
    found = photos.check(files)
    inputs = {"masks": files.fingerprint, "labels": found.labels}
    with _import_folder(out, options, inputs, data) as step:
        if step.complete:
            return step.handle
        use_sub_folders(
            out, decide_sub_folders(out, found.times, begun=not step.journal.is_empty())
        )
        counts = _write_masks(files, photos, found, options, step)
        return step.finish(
            counts={"photos": len(found.times), "regions": counts.regions},
            metrics={
                "classes": list(classes.names),
                IMPORTED: options.made_by,
                "format": files.name,
                "background_source": options.made_by,
                "left_out": counts.metrics(),
                "warnings": [*_unused_names(options, found), *counts.warnings(options.min_score)],
            },
            skipped=_skipped(photos, found),
        )


@contextmanager
def _import_folder(
    out: Path, options: ImportOptions, inputs: Mapping[str, str], data: PreparedData
) -> Iterator[Step[PseudoMaskFolder]]:
    """Open the folder to write.

    Where masks can't be drawn, a folder that this call has begun is removed: once the files are
    corrected, it would be one of other files.
    """
    begun = False
    try:
        with step_folder(
            PseudoMaskFolder,
            out,
            section={IMPORTED: options.made_by, **_section(options)},
            inputs=inputs,
            coverage={"data": data},
        ) as step:
            begun = not step.resumed
            yield step
    except DataError:
        if begun:
            with suppress(RunFolderError):  # the first error is the one to be shown
                remove_step_folder(PseudoMaskFolder, out)
        raise


def _skipped(photos: DataPhotos, found: MatchedPhotos) -> list[str]:
    """Return the photos of the data without a mask, each with the reason."""
    without = {*found.without}
    return [
        f"{id}: {'its labels have no pixels' if id in without else 'no mask was imported'}"
        for id in photos.samples
        if id not in found.times
    ]


def _section(options: ImportOptions) -> dict[str, Any]:
    values = asdict(options)
    del values["made_by"]
    return values


def _write_masks(
    files: MaskFiles,
    photos: DataPhotos,
    found: MatchedPhotos,
    options: ImportOptions,
    step: Step[PseudoMaskFolder],
) -> ImportCounts:
    """Write the mask of every photo.

    Raises:
        ProblemsError: naming every region that can't be drawn.
    """
    counts = ImportCounts(unshown=found.without)
    problems: list[str] = []
    colors = photos.classes.colors
    with ProgressBar(len(found.times), "import masks", only_if_long=True) as bar:
        for id, regions in _by_photo(files, photos, found):
            sample = photos.samples[id]
            try:
                merger = _drawn(sample, regions, photos, options, counts)
            except DataError as error:
                problems.append(f"photo {id!r}: {error.what}")
                continue
            path = mask_path(step.path, id)
            write_mask(path, merger.mask, colors)
            step.journal.record(id, options.made_by, file_digest(path))
            bar.advance()
    if problems:
        raise ProblemsError(
            f"{counted(len(problems), 'photo', 'photos')} with regions that can't be drawn",
            problems,
            where=files.places[0],
            fix="Correct or remove them.",
        )
    return counts


def _by_photo(
    files: MaskFiles, photos: DataPhotos, found: MatchedPhotos
) -> Iterator[tuple[str, Sequence[Region]]]:
    """Yield each photo with a mask and all its regions that aren't left out.

    A photo that comes several times is yielded at its last time.
    """
    left: Counter[str] = Counter(found.times)
    waiting: dict[str, list[Region]] = {}
    for photo in files.photos(photos.size_of):
        id = found.ids[photo.file_name]
        if id not in left:
            continue
        regions = [*waiting.pop(id, ()), *photos.drawn_regions(photo)]
        left[id] -= 1
        if left[id]:
            waiting[id] = regions
        else:
            yield id, regions


def _drawn(
    sample: Sample,
    regions: Sequence[Region],
    photos: DataPhotos,
    options: ImportOptions,
    counts: ImportCounts,
) -> RegionMerger:
    """Draw the regions of a photo that have scores and tags that allow it; count the others.

    Raises:
        DataError: one is damaged, of another size, or its score can't be compared.
    """
    least = options.min_score
    kept = [region for region in regions if _is_kept(region, least, counts)]
    allowed = {mask_id(tag) for tag in sample.tags} | {BACKGROUND, IGNORE}
    scored = all(region.score is not None and not isnan(region.score) for region in kept)
    merger = RegionMerger(sample.size, scored=scored)
    gated, shown = 0, set()
    for region in kept:
        value = photos.value(region.label)
        assert value is not None
        if options.gate_by_tags and value not in allowed:
            gated += 1
        elif merger.add(region, value):
            shown.add(value)
    counts.regions += len(kept) - gated
    counts.gated_regions += gated
    counts.gated_photos += gated > 0
    counts.dropped_pixels += merger.dropped
    excluded = sorted(tag_id_of_mask(value) for value in shown - allowed)
    if excluded:
        names = first_few(photos.classes.names[tag] for tag in excluded)
        counts.against_tags.append(f"{sample.id} ({names})")
    return merger


def _is_kept(region: Region, least: float | None, counts: ImportCounts) -> bool:
    """Return whether a region is drawn, before the photo's tags are compared.

    Raises:
        DataError: its score is no number.
    """
    if least is None:
        return True
    if region.score is None:
        counts.unscored += 1
        return True
    if isnan(region.score):
        raise DataError(
            f"the score of a region ({region.label}) is no number, so that --min-score can't be "
            "compared with it",
            fix="Write scores such as 0.9.",
        )
    counts.low_scores += region.score < least
    return region.score >= least


def _unused_names(options: ImportOptions, found: MatchedPhotos) -> list[str]:
    """Warn about labels named by the user that no region has."""
    return [
        f"--map {label}={name}: no region has this label{nearest_hint(label, sorted(found.seen))}"
        for label, name in options.names.items()
        if label.strip() not in found.seen
    ]
