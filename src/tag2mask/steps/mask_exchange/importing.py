"""Take masks of people or of another model in: ``tag2mask masks import``.

Writes a folder that later steps take like that of ``pseudo-masks``; its manifest says who made the
masks. All photos are compared with the data before the first mask is written.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tag2mask.artifacts.files import file_digest
from tag2mask.artifacts.handles import IMPORTED, PreparedData, PseudoMaskFolder
from tag2mask.artifacts.items import item_path
from tag2mask.artifacts.step_folder import Step, step_folder
from tag2mask.classes import BACKGROUND, IGNORE, ClassSet, mask_id, name_kind, tag_id_of_mask
from tag2mask.data.index import Sample, data_root, read_classes, read_index
from tag2mask.data.inventory import SPLITS
from tag2mask.data.layouts.addresses import AddressedPhotos
from tag2mask.data.masks import write_mask
from tag2mask.errors import DataError, ProblemsError, counted, first_few, nearest_hint
from tag2mask.formats.annotations import AnnotatedPhoto, Region
from tag2mask.runtime.progress import ProgressBar
from tag2mask.steps.mask_exchange.merge import RegionMerger
from tag2mask.steps.mask_exchange.readers import MaskFiles

DRAWN, MODEL = "drawn", "model:"
"""Provenance of masks: drawn by people, or made by a model, whose name follows."""
_LEFT_OUT = -1
"""Value of labels that are left out."""


@dataclass(frozen=True)
class ImportOptions:
    """How masks are taken in.

    Attributes:
        made_by: `DRAWN`, or `MODEL` and a name.
        names: our class by their label; an empty one leaves the label out.
        min_score: regions with a lower score are left out; None: none are.
        gate_by_tags: regions of classes that the photo's tags lack are left out.
    """

    made_by: str
    names: Mapping[str, str] = field(default_factory=dict)
    min_score: float | None = None
    gate_by_tags: bool = False


@dataclass
class _Counts:
    """What happened to regions and pixels, over all photos."""

    regions: int = 0
    boxes: int = 0
    low_scores: int = 0
    gated_regions: int = 0
    gated_photos: int = 0
    dropped_pixels: int = 0
    against_tags: list[str] = field(default_factory=list)

    def metrics(self) -> dict[str, int]:
        """Return the counts that are not zero, for the manifest."""
        found = {name: value for name, value in asdict(self).items() if isinstance(value, int)}
        return {name: value for name, value in found.items() if value}


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
            label that is no class.
        DataError: the files can't be read.
        RunFolderError: ``out`` was made from other files or settings, or can't be written.
    """
    classes = read_classes(data.path)
    photos = _Photos(data, classes, options)
    found = photos.check(files)
    with step_folder(
        PseudoMaskFolder,
        out,
        section={IMPORTED: options.made_by, **_section(options)},
        inputs={"masks": files.fingerprint, "labels": found.labels},
        coverage={"data": data},
    ) as step:
        if step.complete:
            return step.handle
        counts = _write_masks(files, photos, found, step)
        without = [id for id in photos.samples if id not in found.times]
        return step.finish(
            counts={"photos": len(found.times), "regions": counts.regions},
            metrics={
                "classes": list(classes.names),
                IMPORTED: options.made_by,
                "format": files.name,
                "background_source": options.made_by,
                "left_out": counts.metrics(),
                "warnings": [*_unused_names(options, found), *_warnings(counts, options)],
            },
            skipped=[f"{id}: no mask was imported" for id in without],
        )


def _section(options: ImportOptions) -> dict[str, Any]:
    values = asdict(options)
    del values["made_by"]
    return values


@dataclass(frozen=True)
class _Matched:
    """The photos of the files.

    Attributes:
        ids: id of the photo by its name in the files.
        times: how often each id occurs.
        labels: sha256 (hex) of the photos with the labels of their regions, which the files may
            have from others, such as a list of classes.
        seen: the labels of their regions.
    """

    ids: dict[str, str] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    labels: str = ""
    seen: set[str] = field(default_factory=set)


class _Photos:
    """The photos of the data, and what their regions become."""

    def __init__(self, data: PreparedData, classes: ClassSet, options: ImportOptions) -> None:
        root = data_root(data.path)
        self.classes, self.options = classes, options
        self.samples: dict[str, Sample] = {
            sample.id: sample for split in SPLITS for sample in read_index(data.path, split)
        }
        self._paths = {
            sample.image.relative_to(root).as_posix(): sample.id for sample in self.samples.values()
        }
        self._addressed = AddressedPhotos(self._paths)

    def find(self, name: str) -> list[str]:
        """Return the ids of the photos that a name may mean: one, none, or several."""
        if name in self.samples:
            return [name]
        return [self._paths[path] for path in self._addressed.find(name)]

    def size_of(self, name: str) -> tuple[int, int]:
        """Return the (width, height) of a photo of the data.

        Raises:
            DataError: the name means none, or several.
        """
        ids = self.find(name)
        if len(ids) != 1:
            raise DataError(f"photo {name!r} is not in the data, or several may be it")
        height, width = self.samples[ids[0]].size
        return width, height

    def value(self, label: str) -> int | None:
        """Return the value of a label in masks; `_LEFT_OUT`; None: it is no class."""
        name = self.options.names.get(label, label)
        if name in self.classes.names:
            return mask_id(self.classes.tag_id(name))
        if not name:
            return _LEFT_OUT
        return {"background": BACKGROUND, "ignore": IGNORE}.get(name_kind(name))

    def check(self, files: MaskFiles) -> _Matched:
        """Return the photos that the names in the files mean.

        Raises:
            ProblemsError: with all photos and labels that don't fit.
            DataError: the files have no photo.
        """
        found = _Matched()
        digest = hashlib.sha256()
        problems: list[str] = []
        labels: Counter[str] = Counter()
        taken: dict[str, str] = {}
        for photo in files.photos(self.size_of):
            problem, id = self._problem(photo, taken)
            if problem:
                problems.append(problem)
            else:
                found.ids[photo.file_name] = id
                found.times[id] += 1
                taken[id] = photo.file_name
            labels_of = [region.label for region in photo.regions]
            digest.update(repr((photo.file_name, id, labels_of)).encode("utf-8", "replace"))
            for region in photo.regions:
                found.seen.add(region.label)
                if self.value(region.label) is None:
                    labels[region.label] += 1
        problems += [self._label_problem(label, count) for label, count in labels.items()]
        if problems:
            raise ProblemsError(
                f"masks that don't fit the data: {len(problems)} problems; nothing was written",
                problems,
                where=files.places[0],
                fix="Correct them, name classes with --map THEIRS=OURS, or leave a label out with "
                "--map THEIRS= (nothing behind the sign).",
            )
        if not found.ids:
            raise DataError(
                "no photo in these files", where=files.places[0], fix="Give files with masks."
            )
        return replace(found, labels=digest.hexdigest())

    def _problem(self, photo: AnnotatedPhoto, taken: Mapping[str, str]) -> tuple[str, str]:
        """Return why a photo can't be taken in, or an empty text and its id."""
        ids = self.find(photo.file_name)
        if not ids:
            return f"photo {photo.file_name!r} is not in the data", ""
        if len(ids) > 1:
            return f"photo {photo.file_name!r} may be any of {first_few(ids)}", ""
        id = ids[0]
        other = taken.get(id)
        if other is not None and other != photo.file_name:
            return f"{other!r} and {photo.file_name!r} would both be photo {id!r}", ""
        height, width = self.samples[id].size
        if photo.size not in (None, (width, height)):
            assert photo.size is not None
            turned = ", which is the photo before it is turned" * (photo.size == (height, width))
            return (
                f"photo {id!r} is {width}x{height} px, in the files "
                f"{photo.size[0]}x{photo.size[1]}{turned}"
            ), ""
        return "", id

    def _label_problem(self, label: str, count: int) -> str:
        regions = counted(count, "region", "regions")
        name = self.options.names.get(label, label)
        mapped = f", {name!r} by --map," if name != label else ""
        hint = nearest_hint(name, self.classes.names)
        return f"label {label!r} ({regions}){mapped} is no class of the data{hint}"


def _write_masks(
    files: MaskFiles, photos: _Photos, found: _Matched, step: Step[PseudoMaskFolder]
) -> _Counts:
    """Write the mask of every photo.

    Raises:
        ProblemsError: naming every region that can't be drawn.
    """
    counts = _Counts()
    problems: list[str] = []
    colors = photos.classes.colors
    with ProgressBar(len(found.times), "import masks", only_if_long=True) as bar:
        for id, regions in _by_photo(files, photos, found):
            sample = photos.samples[id]
            try:
                merger = _drawn(sample, regions, photos, counts)
            except DataError as error:
                problems.append(f"photo {id!r}: {error.what}")
                continue
            path = item_path(step.path / "masks", id, ".png")
            write_mask(path, merger.mask, colors)
            step.journal.record(id, photos.options.made_by, file_digest(path))
            bar.advance()
    if problems:
        raise ProblemsError(
            f"{len(problems)} photos with regions that can't be drawn",
            problems,
            where=files.places[0],
            fix="Correct or remove them.",
        )
    return counts


def _by_photo(
    files: MaskFiles, photos: _Photos, found: _Matched
) -> Iterator[tuple[str, Sequence[Region]]]:
    """Yield each photo with all its regions; a photo that comes several times, at its last time."""
    left: Counter[str] = Counter(found.times)
    waiting: dict[str, list[Region]] = {}
    for photo in files.photos(photos.size_of):
        id = found.ids[photo.file_name]
        regions = [*waiting.pop(id, ()), *photo.regions]
        left[id] -= 1
        if left[id]:
            waiting[id] = regions
        else:
            yield id, regions


def _drawn(
    sample: Sample, regions: Sequence[Region], photos: _Photos, counts: _Counts
) -> RegionMerger:
    """Draw the regions of a photo that are not left out, and count the others.

    Raises:
        DataError: one is damaged, or of another size.
    """
    kept = [region for region in regions if _is_kept(region, photos, counts)]
    allowed = {mask_id(tag) for tag in sample.tags} | {BACKGROUND, IGNORE}
    merger = RegionMerger(sample.size, scored=all(region.score is not None for region in kept))
    gated, shown = 0, set()
    for region in kept:
        value = photos.value(region.label)
        assert value is not None
        if photos.options.gate_by_tags and value not in allowed:
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


def _is_kept(region: Region, photos: _Photos, counts: _Counts) -> bool:
    """Return whether a region is drawn, before the photo's tags are compared."""
    least = photos.options.min_score
    if photos.value(region.label) == _LEFT_OUT:
        return False
    if region.mask is None:
        counts.boxes += 1
        return False
    if least is not None and region.score is not None and region.score < least:
        counts.low_scores += 1
        return False
    return True


def _unused_names(options: ImportOptions, found: _Matched) -> list[str]:
    """Warn about labels named by the user that no region has."""
    return [
        f"--map {label}={name}: no region has this label{nearest_hint(label, sorted(found.seen))}"
        for label, name in options.names.items()
        if label not in found.seen
    ]


def _warnings(counts: _Counts, options: ImportOptions) -> list[str]:
    """Return what the user should know of what was left out."""
    found = []
    if counts.boxes:
        what = counted(counts.boxes, "box or point", "boxes or points")
        found.append(f"{what} without a mask, left out")
    if counts.low_scores:
        what = counted(counts.low_scores, "region", "regions")
        found.append(f"{what} with a score below {options.min_score:g}, left out")
    if counts.gated_regions:
        what = counted(counts.gated_regions, "region", "regions")
        where = counted(counts.gated_photos, "photo", "photos")
        found.append(f"{what} of {where} left out: the photo's tags exclude their class")
    if counts.dropped_pixels:
        found.append(
            f"{counts.dropped_pixels} pixels where regions of different classes overlap: the "
            "higher score is shown, else the smaller region"
        )
    if counts.against_tags:
        masks = counted(len(counts.against_tags), "mask shows", "masks show")
        found.append(
            f"{masks} classes that the photo's tags exclude ({first_few(counts.against_tags, 3)}); "
            "--gate-by-tags leaves them out"
        )
    return found
