"""The photos that masks of other tools are of, and the classes that their labels mean."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tag2mask.artifacts.handles import PreparedData
from tag2mask.classes import BACKGROUND, IGNORE, ClassSet, mask_id, name_kind
from tag2mask.data.index import data_root, read_samples
from tag2mask.data.layouts.addresses import AddressedPhotos
from tag2mask.errors import DataError, ProblemsError, counted, first_few, nearest_hint
from tag2mask.formats.annotations import AnnotatedPhoto, Region, ShownLabels
from tag2mask.steps.mask_exchange.readers import MaskFiles

LEFT_OUT = -1
"""Value of labels that are left out."""


@dataclass(frozen=True)
class MatchedPhotos:
    """The photos of the files.

    Attributes:
        ids: id of the photo by its name in the files.
        times: how often each id with a mask occurs.
        without: ids of the photos whose labels have no pixels, so that they have no mask.
        labels: sha256 (hex) of the photos with the labels of their regions, which the files may
            have from others, such as a list of classes; and of ``without``.
        seen: the labels of photos and regions, without spaces around them.
    """

    ids: dict[str, str] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    without: tuple[str, ...] = ()
    labels: str = ""
    seen: set[str] = field(default_factory=set)


class DataPhotos:
    """The photos of the data, and what their regions become.

    Args:
        data: the data.
        classes: its classes.
        names: our class by a label of the files; an empty one leaves the label out.

    Attributes:
        samples: the photos by id.
    """

    def __init__(self, data: PreparedData, classes: ClassSet, names: Mapping[str, str]) -> None:
        root = data_root(data.path)
        self.classes = classes
        self._names = {label.strip(): name for label, name in names.items()}
        self.samples = {sample.id: sample for sample in read_samples(data.path)}
        self._paths = {
            sample.image.relative_to(root).as_posix(): sample.id for sample in self.samples.values()
        }
        self._addressed = AddressedPhotos(self._paths)

    def find(self, name: str) -> list[str]:
        """Return the ids of the photos that a name may mean: one, none, or several."""
        if name in self.samples:
            return [name]
        return [self._paths[path] for path in self._addressed.find(name)]

    def _ids(self, photo: AnnotatedPhoto) -> list[str]:
        """Return the ids of the photos that a photo of the files may be."""
        return [photo.id] if photo.id in self.samples else self.find(photo.file_name)

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

    def _named(self, label: str) -> str:
        """Return our class for a label; spaces around it, as in names of folders, don't matter."""
        text = label.strip()
        return self._names.get(text, label if label in self.classes.names else text)

    def value(self, label: str) -> int | None:
        """Return the value of a label in masks; `LEFT_OUT`; None: it is no class."""
        name = self._named(label)
        if name in self.classes.names:
            return mask_id(self.classes.tag_id(name))
        if not name and label.strip():
            return LEFT_OUT
        return {"background": BACKGROUND, "ignore": IGNORE}.get(name_kind(name))

    def drawn_regions(self, photo: AnnotatedPhoto) -> list[Region]:
        """Return the regions of a photo whose labels aren't left out."""
        return [region for region in photo.regions if self.value(region.label) != LEFT_OUT]

    def _shown(self, before: ShownLabels, photo: AnnotatedPhoto) -> ShownLabels:
        """Return the classes that a photo shows; labels that are no class of ours don't count."""
        named = map(self._named, photo.tags)
        regions = [
            replace(region, label=self._named(region.label)) for region in self.drawn_regions(photo)
        ]
        return before.plus((tag for tag in named if tag in self.classes.names), regions)

    def check(self, files: MaskFiles) -> MatchedPhotos:
        """Return the photos that the names in the files mean.

        Raises:
            ProblemsError: with all photos and labels that don't fit.
            DataError: the files have no photo with a mask.
        """
        found = MatchedPhotos()
        digest = hashlib.sha256()
        problems: list[str] = []
        labels: Counter[str] = Counter()
        taken: dict[str, str] = {}
        shown: dict[str, ShownLabels] = {}
        for photo in files.photos(self.size_of):
            problem, id = self._problem(photo, taken)
            if problem:
                problems.append(problem)
            else:
                found.ids[photo.file_name] = id
                found.times[id] += 1
                taken[id] = photo.file_name
                shown[id] = self._shown(shown.get(id, ShownLabels()), photo)
            labels_of = [region.label for region in photo.regions]
            digest.update(repr((photo.file_name, id, labels_of)).encode("utf-8", "replace"))
            found.seen.update(tag.strip() for tag in photo.tags)
            for region in photo.regions:
                found.seen.add(region.label.strip())
                if self.value(region.label) is None:
                    labels[region.label] += 1
        problems += [self._label_problem(label, count) for label, count in labels.items()]
        if problems:
            raise ProblemsError(
                f"masks that don't fit the data: {counted(len(problems), 'problem', 'problems')}; "
                "nothing was written",
                problems,
                where=files.places[0],
                fix=f"{files.advice}Correct them, name classes with --map THEIRS=OURS, or leave a "
                "label out with --map THEIRS= (nothing behind the sign).",
            )
        without = tuple(sorted(id for id, labels_of in shown.items() if not labels_of.has_mask))
        for id in without:
            del found.times[id]
            digest.update(repr(id).encode("utf-8", "replace"))
        if not found.times:
            raise _no_masks(files, len(without))
        return replace(found, without=without, labels=digest.hexdigest())

    def _problem(self, photo: AnnotatedPhoto, taken: Mapping[str, str]) -> tuple[str, str]:
        """Return why a photo can't be taken in, or an empty text and its id."""
        ids = self._ids(photo)
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
        name = self._named(label)
        mapped = f", {name!r} by --map," if name != label else ""
        hint = nearest_hint(name, self.classes.names)
        return f"label {label!r} ({regions}){mapped} is no class of the data{hint}"


def _no_masks(files: MaskFiles, without: int) -> DataError:
    """Return the error for files in which no photo has a mask."""
    if not without:
        return DataError(
            "no photo in these files", where=files.places[0], fix="Give files with masks."
        )
    return DataError(
        f"no masks in these files: the labels of {counted(without, 'photo', 'photos')} have no "
        "pixels",
        where=files.places[0],
        fix="Give files with polygons or masks.",
    )
