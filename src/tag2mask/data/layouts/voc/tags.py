"""Tags of a VOC folder: ``tags.csv``, ``cls_labels.npy``, or the objects of ``Annotations/*.xml``.

They are tried in this order, so that a file that a user adds wins over what came with the data. All
objects of an annotation count, "difficult" ones too, as in psa and SEAM.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from tag2mask.data.inventory import DataProblem, SourceOptions
from tag2mask.data.layouts.tables.tag_table import read_tag_table
from tag2mask.data.layouts.voc.cls_labels import read_cls_labels
from tag2mask.errors import DataError, counted, first_few
from tag2mask.files.regular_file import open_regular
from tag2mask.formats.voc.objects import read_objects

PHOTO_FOLDER = "JPEGImages"
_TABLE, _LABELS, _ANNOTATIONS = "tags.csv", "cls_labels.npy", "Annotations"


class VocTags(NamedTuple):
    """A source of tags.

    Attributes:
        lookup: from a photo's id to its tags; None where the source doesn't have the photo.
        ids: the photos it lists; empty for annotations, which are read one by one.
        name: for messages.
        complete: whether every listed id must have its photo: a user's table, not a published
            file.
    """

    lookup: Callable[[str], tuple[str, ...] | None]
    ids: tuple[str, ...]
    name: str
    complete: bool

    def tags_of(self, id: str, where: str, problems: list[DataProblem]) -> tuple[str, ...]:
        """Return a photo's tags; append a problem where it has none, not even empty ones."""
        tags = self.lookup(id)
        if tags is not None:
            return tags
        what = "has no annotation" if self.name == _ANNOTATIONS else f"is not in {self.name}"
        problems.append(
            DataProblem(
                f"photo {id!r} ({where}) {what}; add it (with empty tags if it shows background "
                "only) or remove it from the list",
                photo=id,
            )
        )
        return ()

    def missing_photos(self, known: Collection[str]) -> list[DataProblem]:
        """Return the problems of ids that the source lists but that ``known`` lacks."""
        missing = [id for id in self.ids if id not in known]
        if self.complete:
            return [
                DataProblem(
                    f"{self.name} has tags of {id!r}, but {PHOTO_FOLDER} has no such "
                    f"photo; add the photo or remove the line",
                    photo=id,
                )
                for id in missing
            ]
        if not missing:
            return []
        count = counted(len(missing), "photo that doesn't", "photos that don't")
        message = f"{self.name} has tags of {count} exist"
        return [DataProblem(f"{message}: {first_few(missing)}", warning=True)]


def find_voc_tags(
    root: Path, options: SourceOptions, names: tuple[str, ...], problems: list[DataProblem]
) -> VocTags:
    """Return the requested source of tags, or the first that exists.

    Args:
        root: the folder with ``JPEGImages``.
        options: which source to read.
        names: the classes.
        problems: extended by those of the source; of annotations, while they are looked up.

    Raises:
        DataError: the source doesn't exist or can't be read.
    """
    exists = {
        "tags.csv": (root / _TABLE).is_file(),
        "cls_labels": (root / _LABELS).is_file(),
        "annotations": (root / _ANNOTATIONS).is_dir(),
    }
    kind: str = options.tags
    if kind == "auto":
        kind = next((name for name, found in exists.items() if found), "")
    if not exists.get(kind):
        wanted = {"": "tags", "cls_labels": _LABELS}.get(kind, kind)
        raise DataError(
            f"no {wanted} found",
            where=root,
            fix="Tags come from tags.csv, cls_labels.npy or Annotations/*.xml.",
        )
    if kind == "tags.csv":
        return _table_tags(root, names, problems)
    if kind == "cls_labels":
        return _label_tags(root, names)
    return _annotation_tags(root, problems)


def _table_tags(root: Path, names: tuple[str, ...], problems: list[DataProblem]) -> VocTags:
    table = read_tag_table(root / _TABLE, names)
    problems += table.problems
    tags: dict[str, tuple[str, ...]] = {}
    for row in table.rows:
        id = row.id.removeprefix(f"{PHOTO_FOLDER}/")
        if id in tags:
            problems.append(DataProblem(f"{row.where}: id {id!r} is listed twice; remove one line"))
        tags[id] = row.tags
    return VocTags(tags.get, tuple(tags), _TABLE, complete=True)


def _label_tags(root: Path, names: tuple[str, ...]) -> VocTags:
    labels = read_cls_labels(root / _LABELS, len(names))
    tags = {id: tuple(names[tag] for tag in own) for id, own in labels.items()}
    return VocTags(tags.get, tuple(tags), _LABELS, complete=False)


def _annotation_tags(root: Path, problems: list[DataProblem]) -> VocTags:
    def read(id: str) -> tuple[str, ...] | None:
        path = root / _ANNOTATIONS / f"{id}.xml"
        try:
            with open_regular(path) as file:
                return tuple(dict.fromkeys(read_objects(file).names))
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            message = f"Annotations/{id}.xml can't be read: {error}; fix or replace it"
            problems.append(DataProblem(message, photo=id))
            return ()

    return VocTags(read, (), _ANNOTATIONS, complete=False)
